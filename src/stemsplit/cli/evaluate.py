"""`stemsplit evaluate`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemsplit.cli.flags import Debug, Json
from stemsplit.cli.screen import Screen, print_table, put_json

if TYPE_CHECKING:
    from stemsplit.evaluate import StemScore
    from stemsplit.melody_score import MelodyScore

FIGURES = ("sdr_db", "si_sdr_db", "si_sdr_improvement_db", "leakage_db")
COLUMNS = ("song", "stem", ">SDR dB", ">SI-SDR dB", ">SI-SDRi dB", ">leakage dB")
MELODY_FIGURES = (
    "overall_accuracy", "raw_pitch_accuracy", "raw_chroma_accuracy", "voicing_recall", "voicing_false_alarm",
)  # fmt: skip
MELODY_COLUMNS = ("track", ">overall %", ">pitch %", ">chroma %", ">recall %", ">false alarm %", ">frames")


def evaluate(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Folder of true stems, or of such folders.")],
    estimate: Annotated[Path, typer.Argument(metavar="ESTIMATE", help="Folder of estimated stems of the same names.")],
    melody: Annotated[
        bool, typer.Option("--melody", help="Score pitch contours (song.f0.csv) instead: two files, or two folders.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Score stems against the true ones, in dB: SDR, SI-SDR, its gain over the mixture; leakage into silent stems.

    With --melody, score pitch contours against the true ones, in percent: overall, raw pitch and raw chroma accuracy,
    voicing recall and voicing false alarm.
    """
    missing = _melodies(reference, estimate, json) if melody else _stems(reference, estimate, json)
    for name in missing:
        Screen().warn(f"{name} has no estimate")
    return int(bool(missing))


def _stems(reference: Path, estimate: Path, json: bool) -> tuple[str, ...]:
    """Print the scores of stems, and return the references without an estimate."""
    from stemsplit.evaluate import evaluate_folders, median_scores

    found = evaluate_folders(reference, estimate)
    medians = median_scores(found.songs)
    if json:
        put_json(
            {
                "songs": [{"song": song.song, "stems": [_figures(s) for s in song.stems]} for song in found.songs],
                "median": [_figures(stem) for stem in medians],
                "missing": list(found.missing),
            }
        )
    else:
        rows = [row for song in found.songs for row in _rows(song.song, song.stems)]
        print_table(COLUMNS, rows + (_rows("median", medians) if len(found.songs) > 1 else []))
    return found.missing


def _melodies(reference: Path, estimate: Path, json: bool) -> tuple[str, ...]:
    """Print the scores of contours, and return the references without an estimate."""
    from stemsplit.melody_score import evaluate_melodies, mean_score, total_score

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


def _rows(song: str, stems: Iterable[StemScore]) -> list[tuple[str, ...]]:
    return [(song, stem.stem, *(_decibels(getattr(stem, name)) for name in FIGURES)) for stem in stems]


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _figures(stem: StemScore) -> dict[str, Any]:
    """JSON has no infinity: a perfect stem's inf and an empty one's −inf are strings."""
    figures = asdict(stem)
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in figures.items()}


def _percents(track: str, score: MelodyScore) -> tuple[str, ...]:
    values = [getattr(score, name) for name in MELODY_FIGURES]
    return (track, *("" if math.isnan(value) else f"{100 * value:.2f}" for value in values), str(score.frames))


def _fractions(score: MelodyScore) -> dict[str, Any]:
    """JSON has no nan: a figure that is not defined is null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(score).items()}
