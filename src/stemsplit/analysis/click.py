"""Beats → clicks: a track as long as the song, and bars that count in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stemsplit.analysis.beats import Tempo

_HERTZ, _ACCENT_HERTZ = 1000.0, 1500.0
_LASTS_S, _FADES_S = 0.04, 0.008
_LEVEL = 0.5
_BLOCK_SAMPLES = 65536


def click_blocks(times: Sequence[float] | np.ndarray, rate: int, samples: int) -> Iterator[np.ndarray]:
    """Yield a mono track (1, n) of just so many samples in all, with a click at each time in seconds."""
    starts = np.round(np.asarray(times, float) * rate).astype(int)
    sound = _click(rate, accent=False)
    for start in range(0, samples, _BLOCK_SAMPLES):
        block = np.zeros((1, min(_BLOCK_SAMPLES, samples - start)), np.float32)
        for at in starts[(starts > start - len(sound)) & (starts < start + block.shape[1])]:
            _add(block, sound, int(at) - start)
        yield block


def count_in(tempo: Tempo, first_beat: float, bars: int, beats_per_bar: int, rate: int) -> tuple[np.ndarray, int]:
    """Return bars of clicks (n,), the first of each bar higher, that lead to the first beat of a song.

    Args:
        tempo: of the clicks.
        first_beat: seconds into the song.
        bars: how many.
        beats_per_bar: clicks in each.
        rate: Hz.

    Returns:
        The clicks, and how many samples after their start the song has to begin.
    """
    period, count = 60 / tempo.bpm, bars * beats_per_bar
    lead = max(0, round((count * period - first_beat) * rate))  # a song that begins before its beat needs less
    clicks = np.zeros((1, lead + round(first_beat * rate)), np.float32)
    for number in range(count):
        at = lead + round((first_beat - (count - number) * period) * rate)
        _add(clicks, _click(rate, accent=number % beats_per_bar == 0), at)
    return clicks[0], lead


def _click(rate: int, *, accent: bool) -> np.ndarray:
    time = np.arange(round(_LASTS_S * rate)) / rate
    hertz = _ACCENT_HERTZ if accent else _HERTZ
    return (_LEVEL * np.exp(-time / _FADES_S) * np.cos(2 * np.pi * hertz * time)).astype(np.float32)


def _add(block: np.ndarray, sound: np.ndarray, at: int) -> None:
    """Add a sound (n,) to a block (1, m) from a sample on, which may be before its start."""
    start, end = max(at, 0), min(at + len(sound), block.shape[1])
    if end > start:
        block[0, start:end] += sound[start - at : end - at]
