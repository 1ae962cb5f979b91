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

FIGURES = ("sdr_db", "si_sdr_db", "si_sdr_improvement_db", "leakage_db")
COLUMNS = ("song", "stem", ">SDR dB", ">SI-SDR dB", ">SI-SDRi dB", ">leakage dB")


def evaluate(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Folder of true stems, or of such folders.")],
    estimate: Annotated[Path, typer.Argument(metavar="ESTIMATE", help="Folder of estimated stems of the same names.")],
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Score stems against the true ones, in dB: SDR, SI-SDR, its gain over the mixture; leakage into silent stems."""
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
    for name in found.missing:
        Screen().warn(f"{name} has no estimate")
    return int(bool(found.missing))


def _rows(song: str, stems: Iterable[StemScore]) -> list[tuple[str, ...]]:
    return [(song, stem.stem, *(_decibels(getattr(stem, name)) for name in FIGURES)) for stem in stems]


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _figures(stem: StemScore) -> dict[str, Any]:
    """JSON has no infinity: a perfect stem's inf and an empty one's −inf are strings."""
    figures = asdict(stem)
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in figures.items()}
