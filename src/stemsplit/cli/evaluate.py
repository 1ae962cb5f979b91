"""`stemsplit evaluate`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemsplit.cli.batch.run import watching
from stemsplit.cli.flags.shared import (
    BatchSizeOption,
    Debug,
    Device,
    Force,
    Json,
    OverlapOption,
    PrecisionOption,
    Quiet,
    as_path,
    model_names,
)
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen, print_table, put, put_json
from stemsplit.errors import AudioError, UsageError
from stemsplit.machine import signals
from stemsplit.machine.streams import require_output
from stemsplit.options import SeparateOptions

if TYPE_CHECKING:
    from stemsplit.evaluation.folders import SongFolder
    from stemsplit.evaluation.melody import MelodyScore
    from stemsplit.evaluation.scores import FrameSDR, SongScore, StemScore
    from stemsplit.evaluation.sheet import ScoreSheet
    from stemsplit.runs.jobs import Job

FIGURES = ("sdr_db", "csdr_db", "si_sdr_db", "si_sdr_improvement_db", "leakage_db")
COLUMNS = ("song", "stem", ">SDR dB", ">cSDR dB", ">SI-SDR dB", ">SI-SDRi dB", ">leakage dB")
SUMMARY_COLUMNS = ("stem", ">uSDR dB", ">cSDR dB", ">published uSDR dB", ">published cSDR dB")
PUBLISHED = {"published_usdr_db": "SDR of whole", "published_csdr_db": "cSDR"}
"""Figure of the summary → how the names of its metric begin on the models' cards."""
MELODY_FIGURES = (
    "overall_accuracy", "raw_pitch_accuracy", "raw_chroma_accuracy", "voicing_recall", "voicing_false_alarm",
)  # fmt: skip
MELODY_COLUMNS = ("track", ">overall %", ">pitch %", ">chroma %", ">recall %", ">false alarm %", ">frames")
SPEAKER_FIGURES = ("si_sdr_db", "si_sdr_improvement_db", "sdr_db", "leakage_db")
SPEAKER_COLUMNS = ("talk", "speaker", "estimate", ">SI-SDR dB", ">SI-SDRi dB", ">SDR dB", ">leakage dB")
DEFAULT_SHEET = Path("evaluation.jsonl")


@dataclass(frozen=True)
class Scored:
    """What came of a run: the songs, what had no estimate or failed, and what a model's card says of itself."""

    songs: tuple[SongScore, ...]
    missing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    published: Mapping[str, Mapping[str, float]] | None = None  # stem → metric → dB


ReferenceArgument = Annotated[
    Path,
    typer.Argument(metavar="REFERENCE", parser=as_path, help="Folder of true stems, of such folders, or MUSDB18-HQ."),
]
EstimateArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[ESTIMATE]", parser=as_path, help="Folder of estimated stems of the same names; or -m instead."
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="REF",
        help="Separate the songs of REFERENCE with this model and score it; no stem is written.",
        autocompletion=model_names,
    ),
    BASIC,
]
SubsetOption = Annotated[str, typer.Option(metavar="NAME", help="test or train, of MUSDB18-HQ."), BASIC]
ScoresOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        parser=as_path,
        help="Keep each song's scores in a file of JSON lines; songs that are in it are not scored again.",
        show_default=f"with -m {DEFAULT_SHEET}",
    ),
    BASIC,
]
MusevalOption = Annotated[
    bool, typer.Option("--museval", help="Let museval compute cSDR, to check ours (with the extra eval).")
]
MelodyOption = Annotated[
    bool, typer.Option("--melody", help="Score pitch contours (song.f0.csv) instead: two files, or two folders."), BASIC
]
SpeakersOption = Annotated[
    bool,
    typer.Option("--speakers", help="Score speakers, each by the estimate that fits best, whatever its name."),
    BASIC,
]


def evaluate(
    reference: ReferenceArgument,
    estimate: EstimateArgument = None,
    model: ModelOption = None,
    subset: SubsetOption = "test",
    scores: ScoresOption = None,
    museval: MusevalOption = False,
    melody: MelodyOption = False,
    speakers: SpeakersOption = False,
    overlap: OverlapOption = None,
    batch_size: BatchSizeOption = None,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Score stems against the true ones, in dB: SDR, cSDR, SI-SDR, its gain over the mixture, and leakage.

    Of several songs the mean SDR is what papers call uSDR, and the median cSDR theirs.
    With --melody, pitch contours, in percent: overall, raw pitch and chroma accuracy, voicing recall, false alarm.
    With --speakers, people who talk at once, in dB: SI-SDR, its gain over the mixture, and SDR.

    Examples:
        stemsplit evaluate truth/ separated/                  # folders of stems
        stemsplit evaluate MUSDB18-HQ -m ts-bsmamba2-musdb18  # separate and score
        stemsplit evaluate --melody truth/ melody/            # pitch contours
    """
    require_output()
    screen = Screen(quiet=quiet)
    if (estimate is None) == (model is None):
        raise UsageError("name a folder of estimates, or a model to separate with: -m ts-bsmamba2-mini")
    if melody:
        if estimate is None:
            raise UsageError("--melody compares contours with contours: name the estimated ones too")
        return _warned(_melodies(reference, estimate, json), screen)
    if speakers:
        if estimate is None or melody:
            raise UsageError("--speakers compares folders with folders: separate first, and name the estimates")
        return _warned(_speakers(reference, estimate, json), screen)
    options = SeparateOptions(overlap=overlap, batch_size=batch_size, device=device, precision=precision)
    frame_sdr = _museval() if museval else None
    sheet = _sheet(scores if model is None else scores or DEFAULT_SHEET, force)
    if estimate is not None:
        found = _estimated(reference, estimate, subset, sheet, frame_sdr, screen)
    else:
        found = _separated(reference, str(model), options, subset, sheet, frame_sdr, screen)
    incomplete = _warned(found.missing, screen)
    if found.songs or json:
        _show(found, json)
    return incomplete or int(bool(found.failed))


def _warned(missing: Sequence[str], screen: Screen) -> int:
    """Tell what has no estimate; the exit code."""
    for name in missing:
        screen.warn(f"{name} has no estimate")
    return int(bool(missing))


def _museval() -> FrameSDR:
    from stemsplit.evaluation.scores import museval_frame_sdr

    return museval_frame_sdr()


def _sheet(path: Path | None, force: bool) -> ScoreSheet:
    from stemsplit.evaluation.sheet import ScoreSheet

    return ScoreSheet(path, reread=not force)


def _estimated(
    reference: Path, estimate: Path, subset: str, sheet: ScoreSheet, frame_sdr: FrameSDR | None, screen: Screen
) -> Scored:
    """Score files against files."""
    from stemsplit.evaluation.sheet import key_of
    from stemsplit.evaluation.songs import evaluate_song, pair_songs

    pairs, missing = pair_songs(reference, estimate, subset, screen.warn)
    songs, failed = [], []
    for pair in pairs:
        mixture = [pair.mixture] if pair.mixture else []
        key = key_of(
            [*pair.references.values(), *pair.estimates.values(), *mixture], {"museval": frame_sdr is not None}
        )
        try:
            if (score := sheet.find(pair.song, key)) is None:
                with screen.busy(f"scoring {pair.song}"):
                    score = evaluate_song(pair, frame_sdr)
                sheet.add(score, key)
            songs.append(score)
        except AudioError as error:
            screen.error(str(error))
            failed.append(pair.song)
        signals.check()
    return Scored(tuple(songs), missing, tuple(failed))


def _separated(
    reference: Path,
    model: str,
    options: SeparateOptions,
    subset: str,
    sheet: ScoreSheet,
    frame_sdr: FrameSDR | None,
    screen: Screen,
) -> Scored:
    """Separate and score."""
    with screen.starting_pytorch():
        from stemsplit.cli.separate import ready
        from stemsplit.evaluation.folders import find_songs
        from stemsplit.evaluation.separator import about, published_sdr, score_separator
        from stemsplit.evaluation.sheet import key_of
        from stemsplit.runs.jobs import Outcome
        from stemsplit.runs.pace import known_seconds
    if not reference.is_dir():
        raise UsageError(f"{reference}: no such folder; give MUSDB18-HQ, or a folder with a folder of stems per song")
    if not (folders := find_songs(reference, subset)):
        raise UsageError(f"{reference}: no songs; a song is a folder with drums.wav, bass.wav, … and mixture.wav")
    separator = ready(model, options, screen)
    settings = {**about(separator), "museval": frame_sdr is not None}
    jobs = {folder: _job(folder) for folder in folders}
    songs, failed = [], []
    with watching(screen, tuple(jobs.values())) as watcher:
        for folder, job in jobs.items():
            files = [*folder.stems.values(), *([folder.mixture] if folder.mixture else [])]
            key = key_of(files, settings)
            watcher.on_start(job, known_seconds(job.source))
            try:
                if (score := sheet.find(folder.name, key)) is None:
                    score = score_separator(
                        folder,
                        separator,
                        frame_sdr=frame_sdr,
                        on_progress=partial(watcher.on_progress, job),
                        on_warning=partial(watcher.on_warning, job),
                    )
                    sheet.add(score, key, **settings)
                    screen.note(f"{folder.name}: {_short(score.stems)}")
                songs.append(score)
            except AudioError as error:
                screen.error(str(error))
                failed.append(folder.name)
            watcher.on_outcome(Outcome(job, "failed" if folder.name in failed else "done"))
    published: dict[str, dict[str, float]] = {}
    for name, metric in PUBLISHED.items() if folders[0].subset == "test" else ():
        for stem, stated in published_sdr(model, metric).items():
            published.setdefault(stem, {})[name] = stated.value
    return Scored(tuple(songs), failed=tuple(failed), published=published)


def _published(found: Mapping[str, float]) -> dict[str, float | None]:
    return {name: found.get(name) for name in PUBLISHED}


def _job(folder: SongFolder) -> Job:
    """Return a song as progress bars know it."""
    from stemsplit.runs.jobs import Job

    first = folder.mixture or next(iter(folder.stems.values()), folder.path)
    return Job(first, folder.name, folder.name, {}, folder.path)


def _show(found: Scored, json: bool) -> None:
    from stemsplit.evaluation.scores import mean_scores, median_scores
    from stemsplit.evaluation.sheet import as_json, figures

    means, medians = mean_scores(found.songs), median_scores(found.songs)
    summary = _summary(means, medians, found.published or {})
    if json:
        put_json(
            {
                "songs": [as_json(song) for song in found.songs],
                "median": [figures(stem) for stem in medians],
                "mean": [figures(stem) for stem in means],
                "summary": summary,
                "missing": list(found.missing),
                "failed": list(found.failed),
            }
        )
        return
    rows = [row for song in found.songs for row in _rows(song.song, song.stems)]
    several = len(found.songs) > 1
    print_table(COLUMNS, rows + (_rows("mean", means) + _rows("median", medians) if several else []))
    if several:
        put("")
        columns = SUMMARY_COLUMNS if found.published else SUMMARY_COLUMNS[:-2]
        table = [(stem, *(_decibels(_float(value)) for value in values.values())) for stem, values in summary.items()]
        print_table(columns, [row[: len(columns)] for row in table])


def _summary(
    means: Sequence[StemScore], medians: Sequence[StemScore], published: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, Any]]:
    """Stem, and "mean" of them all → uSDR, cSDR, and those that the model's card states."""
    rows = {
        mean.stem: {"usdr_db": mean.sdr_db, "csdr_db": median.csdr_db}
        for mean, median in zip(means, medians, strict=True)
    }
    if len(rows) > 1:
        rows["mean"] = {name: _mean([row[name] for row in rows.values()]) for name in ("usdr_db", "csdr_db")}
    return {
        stem: {name: _finite(value) for name, value in {**row, **_published(published.get(stem, {}))}.items()}
        for stem, row in rows.items()
    }


def _melodies(reference: Path, estimate: Path, json: bool) -> tuple[str, ...]:
    """Print the scores of contours, and return the references without an estimate."""
    from stemsplit.evaluation.melody import evaluate_melodies, mean_score, total_score

    found = evaluate_melodies(reference, estimate)
    scores = [track.score for track in found.tracks]
    mean, total = mean_score(scores), total_score(scores)
    if json:
        put_json(
            {
                "tracks": [{"track": track.track, **_fractions(track.score)} for track in found.tracks],
                "mean": _fractions(mean),
                "total": _fractions(total),
                "missing": list(found.missing),
            }
        )
    else:
        rows = [_percents(track.track, track.score) for track in found.tracks]
        averages = [_percents("mean of tracks", mean), _percents("all frames", total)]
        print_table(MELODY_COLUMNS, rows + (averages if len(rows) > 1 else []))
    return found.missing


def _speakers(reference: Path, estimate: Path, json: bool) -> tuple[str, ...]:
    """Print the scores of speakers, and return the references without an estimate."""
    from stemsplit.evaluation.sheet import figures
    from stemsplit.evaluation.speakers import evaluate_speakers, medians

    talks, missing = evaluate_speakers(reference, estimate)
    middle = medians(talks)
    pairs = [(talk.talk, one) for talk in talks for one in talk.speakers]
    if json:
        scored = [{"talk": talk, **figures(one.figures), "estimate": one.estimate} for talk, one in pairs]
        put_json({"speakers": scored, "median": {k: _finite(v) for k, v in middle.items()}, "missing": list(missing)})
        return missing
    rows = [(talk, one.figures.stem, one.estimate, *_speaker_cells(one.figures)) for talk, one in pairs]
    last = [("median", "", "", *(_decibels(middle[name]) for name in SPEAKER_FIGURES))]
    print_table(SPEAKER_COLUMNS, rows + (last if len(talks) > 1 else []))
    return missing


def _speaker_cells(figures: StemScore) -> list[str]:
    return [_decibels(getattr(figures, name)) for name in SPEAKER_FIGURES]


def _rows(song: str, stems: Iterable[StemScore]) -> list[tuple[str, ...]]:
    return [(song, stem.stem, *(_decibels(getattr(stem, name)) for name in FIGURES)) for stem in stems]


def _short(stems: Iterable[StemScore]) -> str:
    return ", ".join(f"{stem.stem} {_decibels(stem.sdr_db) or 'silent'}" for stem in stems)


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity."""
    return str(value) if value is not None and not math.isfinite(value) else value


def _float(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _percents(track: str, score: MelodyScore) -> tuple[str, ...]:
    values = [getattr(score, name) for name in MELODY_FIGURES]
    return (track, *("" if math.isnan(value) else f"{100 * value:.2f}" for value in values), str(score.frames))


def _fractions(score: MelodyScore) -> dict[str, Any]:
    """JSON has no nan: a figure that is not defined is null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(score).items()}
