"""Tempo, beats, key and chords from Python: a file or an array in, an `Analysis` out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stemsplit.analysis.song import Analysis, Listener
from stemsplit.api.sources import Sound, readable
from stemsplit.audio.info import Warn
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.options import AnalyseOptions, SeparateOptions
from stemsplit.runs.analyse import check_analyse_options
from stemsplit.separation.separator import make_separator, render
from stemsplit.separation.source import open_source
from stemsplit.weights.catalog import DEFAULT_MODEL
from stemsplit.weights.model import as_model


def analyse(
    source: Sound,
    sample_rate: int | None = None,
    *,
    model: str | Path | SeparatorNetwork = DEFAULT_MODEL,
    audio_track: int | None = None,
    salvage: bool = False,
    device: str = "auto",
    on_progress: Callable[[float], object] | None = None,
    on_warning: Warn = lambda text: None,
) -> Analysis:
    """Find tempo, beats, key and chords of a song, each with its confidence.

    Args:
        source: a file or samples, as for `separate`.
        sample_rate: Hz, of an array; a file says it itself.
        model: what separates the stems: a reference, or a network from `load_network`.
        audio_track: as for `separate`.
        salvage: as for `separate`.
        device: auto, cpu, cuda, cuda:N or mps.
        on_progress: told the seconds of audio that are done.
        on_warning: told what was put right on the way.

    Raises:
        StemsplitError: see `stemsplit.errors`.
    """
    with readable(source) as given:
        audio, _ = open_source(given, sample_rate, track=audio_track, salvage=salvage)
        separator = make_separator(as_model(model, "separate"), SeparateOptions(device=device))
        names = [output.name for output in separator.outputs]
        check_analyse_options(AnalyseOptions(without=()), names)
        listener = Listener(names, audio.sample_rate)
        for block in render(separator, audio, audio.sample_rate, on_progress=on_progress, on_warning=on_warning):
            listener.add(block.outputs)
    return listener.analysis()
