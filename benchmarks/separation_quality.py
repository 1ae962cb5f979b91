"""Score a model on songs that it has not seen, beside a classical baseline, an oracle and no separation at all.

    python benchmarks/separation_quality.py --songs DIR --model REF [REF ...] [--json OUT] [--threads N] [--device NAME]
        [--chunk-seconds S] [--overlap F] [--limit N] [--without vocals] [--expander DB] [--alone]

DIR holds one folder per song with drums, bass, other and vocals as .npy (int16, (samples, 2), 44.1 kHz) or as audio
files; a `mixture` beside them is the mixture (MUSDB), else their sum is. Where only vocals and accompaniment are known,
the accompaniment is compared with the sum of the other estimates. The table goes to stdout, progress to stderr.
Every figure is the median over the songs in which the stem sounds; leakage is the median over those in which it does
not; with --without a stem is taken out of every song. Without --model only the other three are scored, with --alone
only the models.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from baseline import ideal_ratio_masks, separate_classically

from stemsplit import __version__, audio
from stemsplit.evaluation.folders import MIXTURE_NAMES, stem_files
from stemsplit.evaluation.scores import SongScore, StemScore, median_scores, score_stems
from stemsplit.machine.device import choose_device
from stemsplit.separation.stream import chunking_for, separate_array
from stemsplit.weights.checkpoint import load_network

STEMS = ("drums", "bass", "other", "vocals")
PAIR = ("accompaniment", "vocals")
RATE = 44100
METRICS = {"sdr_db": "SDR", "si_sdr_db": "SI-SDR", "si_sdr_improvement_db": "SI-SDRi"}


@dataclass(frozen=True)
class Song:
    """One song in memory, float32 (2, samples)."""

    name: str
    stems: dict[str, np.ndarray]
    mixture: np.ndarray


Method = Callable[[Song], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Result:
    """What one method scored, song by song, and how long it took."""

    songs: tuple[SongScore, ...]
    medians: tuple[StemScore, ...]
    seconds_per_second: float


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    models = {reference: model_method(reference, options) for reference in options.model}
    methods = {**models, **({} if options.alone else comparison())}
    results = run(methods, song_folders(options.songs)[: options.limit], options.without)
    report = report_of(results, options)
    print(", ".join(f"{name} {value}" for name, value in report.items() if name != "methods"))
    print_results(results, options.model)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=Path, required=True, help="folder with one folder per song")
    parser.add_argument(
        "--model", nargs="+", default=[], help="any references to models that `stemsplit separate --model` takes"
    )
    parser.add_argument("--alone", action="store_true", help="score the models only")
    parser.add_argument("--json", type=Path, help="also write every song's scores here")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network (1)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, auto (cpu)")
    parser.add_argument("--chunk-seconds", type=float, help="length of a chunk, instead of the model's own")
    parser.add_argument("--overlap", type=float, help="fraction of a chunk, instead of the model's own")
    parser.add_argument("--limit", type=int, help="only the first N songs")
    parser.add_argument("--expander", help="its threshold in dB, or none, instead of the model's own")
    parser.add_argument("--without", choices=STEMS, help="take this stem out of the songs: what goes there leaks")
    options = parser.parse_args()
    if options.alone and not options.model:
        parser.error("--alone leaves nothing to score: add --model")
    return options


# --- songs


def song_folders(root: Path) -> list[Path]:
    """The folders that hold stems, by name."""
    folders = [path for path in sorted(root.glob("*")) if path.is_dir() and stem_paths(path)]
    if not folders:
        sys.exit(f"{root}: no folder in it holds {', '.join(STEMS)} as .npy or audio")
    return folders


def stem_paths(folder: Path) -> dict[str, Path]:
    """The stems' files, and the mixture's if there is one; empty unless all four stems, or a pair, are there."""
    files = stem_files(folder) | {path.stem: path for path in sorted(folder.glob("*.npy"))}
    for names in (STEMS, PAIR):
        if files.keys() >= {*names}:
            return {name: files[name] for name in (*names, *MIXTURE_NAMES) if name in files}
    return {}


def read_song(folder: Path, without: str | None = None) -> Song:
    """Read a song's stems and mixture; one stem can be left out of both."""
    sounds = {name: read_sound(path) for name, path in stem_paths(folder).items()}
    stems = {name: sound for name, sound in sounds.items() if name not in MIXTURE_NAMES}
    mixtures = [sounds[name] for name in MIXTURE_NAMES if name in sounds]
    mixture = mixtures[0] if mixtures else sum_of(stems)
    if without in stems:
        mixture = mixture - stems[without]
        stems[without] = np.zeros_like(mixture)
    return Song(folder.name, stems, mixture)


def read_sound(path: Path) -> np.ndarray:
    """A stem as float32 (2, samples)."""
    if path.suffix == ".npy":
        return np.load(path).T.astype(np.float32) / 2**15
    info = audio.probe(path)
    if (info.sample_rate, info.channels) != (RATE, 2):
        sys.exit(f"{path}: {info.sample_rate} Hz and {info.channels} channels; this benchmark takes 44100 Hz stereo")
    return np.concatenate(list(audio.blocks(info)), axis=1)


def sum_of(stems: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack(list(stems.values())).sum(axis=0)


# --- methods


def comparison() -> dict[str, Method]:
    """What a model is compared with."""
    return {
        "baseline": lambda song: separate_classically(song.mixture, RATE),
        "oracle mask": lambda song: ideal_ratio_masks(song.stems, song.mixture, RATE),
        "mixture": lambda song: dict.fromkeys(song.stems, song.mixture),
    }


def model_method(reference: str, options: argparse.Namespace) -> Method:
    """A model as a method, with its own chunking where no other is given."""
    network = load_network(reference)
    if network.config.sample_rate != RATE:
        sys.exit(f"{reference}: works at {network.config.sample_rate} Hz; this benchmark's songs are at {RATE}")
    if options.expander is not None:
        threshold = None if options.expander == "none" else float(options.expander)
        network.config = replace(network.config, expander_db=threshold)
    device = choose_device(options.device)
    chunking = chunking_for(network.config, chunk_seconds=options.chunk_seconds, overlap=options.overlap)

    def separate(song: Song) -> dict[str, np.ndarray]:
        stems = separate_array(network, song.mixture, chunking=chunking, device=device)
        return dict(zip(network.config.stems, stems, strict=True))

    return separate


def run(methods: dict[str, Method], folders: list[Path], without: str | None = None) -> dict[str, Result]:
    """Score all methods, song by song."""
    scores: dict[str, list[SongScore]] = {name: [] for name in methods}
    spent = dict.fromkeys(methods, 0.0)
    length = 0.0
    for position, folder in enumerate(folders, start=1):
        song = read_song(folder, without)
        length += song.mixture.shape[1] / RATE
        for name, (scored, seconds) in scored_methods(methods, song):
            scores[name].append(scored)
            spent[name] += seconds
        print(f"[{position}/{len(folders)}] {folder.name}", progress_of(scores), file=sys.stderr, flush=True)
    return {name: Result(tuple(songs), median_scores(songs), spent[name] / length) for name, songs in scores.items()}


def scored_methods(methods: dict[str, Method], song: Song) -> Iterator[tuple[str, tuple[SongScore, float]]]:
    """(method, (scores, seconds it took)) of one song."""
    for name, separate in methods.items():
        start = time.perf_counter()
        estimates = separate(song)
        seconds = time.perf_counter() - start
        scored = score_stems(song.stems, as_known(estimates, song), song.mixture)
        yield name, (SongScore(song.name, scored), seconds)


def as_known(estimates: dict[str, np.ndarray], song: Song) -> dict[str, np.ndarray]:
    """The estimates of what is known of a song."""
    if PAIR[0] in song.stems and PAIR[0] not in estimates:
        rest = sum_of({name: estimate for name, estimate in estimates.items() if name != "vocals"})
        estimates = {**estimates, PAIR[0]: rest}
    return {name: estimates[name] for name in song.stems}


def progress_of(scores: dict[str, list[SongScore]]) -> str:
    """The SDRs of the first method's last song."""
    last = next(iter(scores.values()))[-1]
    return " ".join(f"{stem.stem} {number(stem.sdr_db)}" for stem in last.stems)


# --- report


def print_results(results: dict[str, Result], models: Sequence[str]) -> None:
    """One table per metric, stems across, methods down."""
    stems = [stem for stem in (*STEMS[:3], *PAIR) if all(stem in by_stem(result) for result in results.values())]
    for metric, title in METRICS.items():
        print_table(f"median {title}, dB", stems, {name: row(result, metric) for name, result in results.items()})
        if len(models) == 1 and "baseline" in results and metric != "si_sdr_improvement_db":
            print_row("over the baseline", [f"{value:+.2f}" for value in margins(results, models[0], metric, stems)])
    if any(value is not None for result in results.values() for value in row(result, "leakage_db").values()):
        print_table(
            "median leakage where the stem is silent, dB of the mixture", stems,
            {name: row(result, "leakage_db") for name, result in results.items()},
        )  # fmt: skip
    print("\nseconds of work per second of audio")
    for name, result in results.items():
        print_row(name, [f"{result.seconds_per_second:.3f}"])


def print_table(title: str, stems: list[str], rows: dict[str, dict[str, float | None]]) -> None:
    print()
    print_row(title, stems)
    for name, values in rows.items():
        known = [values[stem] for stem in stems]
        print_row(name, [number(value) for value in known])


def print_row(title: str, cells: list[str]) -> None:
    print(f"{title:60}" + "".join(f"{cell:>9}" for cell in cells))


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def by_stem(result: Result) -> dict[str, StemScore]:
    return {score.stem: score for score in result.medians}


def row(result: Result, metric: str) -> dict[str, float | None]:
    """A metric's medians by stem."""
    return {stem: getattr(score, metric) for stem, score in by_stem(result).items()}


def margins(results: dict[str, Result], reference: str, metric: str, stems: list[str]) -> list[float]:
    """How far a model's medians lie over the baseline's, dB; nan where there is nothing to compare."""
    model, baseline = (row(results[name], metric) for name in (reference, "baseline"))
    return [difference(model[stem], baseline[stem]) for stem in stems]


def difference(left: float | None, right: float | None) -> float:
    return math.nan if left is None or right is None else left - right


def report_of(results: dict[str, Result], options: argparse.Namespace) -> dict[str, object]:
    """Everything as JSON: settings, medians, every song."""
    return {
        "stemsplit": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "models": options.model,
        "device": options.device,
        "without": options.without,
        "expander": options.expander,
        "threads": options.threads,
        "songs": len(next(iter(results.values())).songs),
        "methods": {name: finite(asdict(result)) for name, result in results.items()},
    }


def finite(value: object) -> object:
    """The same structure with infinities and NaN as strings, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
