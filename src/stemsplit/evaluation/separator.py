"""Scores of a separator on songs with known stems. It separates and is scored in one pass, without writing stems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.audio import probe, rechunked
from stemsplit.audio.info import Warn
from stemsplit.errors import AudioError, UnknownModelError
from stemsplit.evaluation.folders import SongFolder
from stemsplit.evaluation.scores import FrameSDR, Part, SongScore, score_parts
from stemsplit.evaluation.songs import seconds_together
from stemsplit.separation.separator import Separator, render
from stemsplit.separation.source import Source, file_source
from stemsplit.weights.card import Score
from stemsplit.weights.catalog import card

MUSDB = "MUSDB18-HQ test"


def score_separator(
    song: SongFolder,
    separator: Separator,
    *,
    frame_sdr: FrameSDR | None = None,
    on_progress: Callable[[float], object] | None = None,
    on_warning: Warn = lambda text: None,
) -> SongScore:
    """Separate a song and score every stem of the separator. Memory does not depend on the song's length.

    Args:
        song: if it has no file of the mixture, the sum of its stems is separated.
        separator: all its stems must be in the song.
        frame_sdr: see `score_parts`.
        on_progress: called with the seconds of audio that are done.
        on_warning: called with one sentence about each problem.

    Raises:
        AudioError: a stem is missing, or the files differ in sample rate, channels or length.
    """
    names, rest = [output.name for output in separator.outputs], rest_of(separator)
    if missing := [name for name in names if name not in song.stems and name != rest]:
        found = ", ".join(song.stems) or "no stems"
        raise AudioError(
            f"{song.path}: no {', '.join(missing)}; {separator.model.reference} gives {', '.join(names)}, "
            f"and the folder has {found}"
        )
    files = {("true", stem): path for stem, path in song.stems.items()}
    if song.mixture is not None:
        files["mixture", ""] = song.mixture
    source = _source(song)
    rate = source.sample_rate
    with closing(render(separator, source, rate, on_progress=on_progress, on_warning=on_warning)) as rendered:
        estimates = rechunked((block.outputs for block in rendered), rate)
        return SongScore(song.name, score_parts(_parts(seconds_together(files), estimates, names, rest), frame_sdr))


def about(separator: Separator) -> dict[str, Any]:
    """Return what the scores of a separator depend on, as JSON values."""
    chunking = separator.chunking
    return {
        "model": separator.model.reference,
        "sha256": separator.model.sha256,
        "chunk_samples": chunking.chunk_samples,
        "overlap": chunking.overlap,
        "precision": separator.precision_name,
    }


def rest_of(separator: Separator) -> str | None:
    """Return the stem that is all that the others leave. Its truth is the sum of all other true stems."""
    rest: str | None = getattr(separator.model.network.config, "rest", None)
    return rest


def published_sdr(reference: str, metric: str = "SDR of whole") -> dict[str, Score]:
    """Return the published scores of a model by stem: by default the SDR of whole songs of the test set of MUSDB18-HQ.

    `metric` is how the card's name of the metric begins. The scores are those on the model's card. There are none for
    models that are not in the catalog.
    """
    try:
        scores = card(reference).scores
    except UnknownModelError:
        return {}
    return {score.stem: score for score in scores if score.dataset == MUSDB and score.metric.startswith(metric)}


def _parts(
    seconds: Iterator[dict[tuple[str, str], np.ndarray]],
    estimates: Iterator[np.ndarray],
    names: list[str],
    rest: str | None,
) -> Iterator[Part]:
    for block, estimated in zip(seconds, estimates, strict=True):
        true = {stem: samples for (kind, stem), samples in block.items() if kind == "true"}
        mixture = block["mixture", ""] if ("mixture", "") in block else _sum(true)
        if rest is not None:
            others = [samples for stem, samples in true.items() if stem == rest or stem not in names]
            true[rest] = np.sum(others, axis=0) if others else mixture - _sum(true)
        yield Part({name: true[name] for name in names}, dict(zip(names, estimated, strict=True)), mixture)


def _source(song: SongFolder) -> Source:
    if song.mixture is not None:
        return file_source(probe(song.mixture))
    info = probe(next(iter(song.stems.values())))
    return Source(partial(_summed, song.stems), info.sample_rate, info.channels)


def _summed(stems: dict[str, Path], warn: Warn | None) -> Iterator[np.ndarray]:
    for block in seconds_together({("true", stem): path for stem, path in stems.items()}):
        yield _sum(block)


def _sum(parts: dict[Any, np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(list(parts.values()), axis=0)
    return total
