"""The "musical" bands of arXiv 2602.08671: as wide as their distance in pitch, they overlap, and low ones coincide."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

A4_HZ, A4_MIDI, OCTAVE = 440.0, 69, 12


class Band(NamedTuple):
    """The bins start … stop − 1."""

    start: int
    stop: int

    @property
    def width(self) -> int:
        """The number of bins."""
        return self.stop - self.start

    @property
    def middle(self) -> int:
        """The bin in the middle, rounded down, where the stop counts as a bin."""
        return (self.start + self.stop) // 2


def musical_bands(count: int, sample_rate: int, n_fft: int) -> list[Band]:
    """Return the bands of a spectrum with n_fft // 2 + 1 bins.

    Their centres are evenly spaced in pitch from the first bin above 0 Hz to the last one. Each reaches a step of
    pitch down and up, rounded outwards to bins. The first reaches to 0 Hz, and the last to the last bin.
    """
    width, last = sample_rate / n_fft, n_fft // 2
    step = 2 ** (math.log2(last) / count)
    pitches = np.linspace(max(0.0, _midi(width)), max(0.0, _midi(sample_rate / 2)), count)
    centres = A4_HZ * 2.0 ** ((pitches - A4_MIDI) / OCTAVE)
    starts, stops = np.floor(centres / step / width), np.minimum(np.ceil(centres * step / width), last) + 1
    starts[0], stops[-1] = 0, last + 1
    return [Band(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]


def bands_over(bands: list[Band], bins: int) -> np.ndarray:
    """Return how many bands each bin lies in, (bins,)."""
    counts = np.zeros(bins)
    for band in bands:
        counts[band.start : band.stop] += 1
    return counts


def _midi(hertz: float) -> float:
    return OCTAVE * math.log2(hertz / A4_HZ) + A4_MIDI
