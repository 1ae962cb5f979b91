"""How close an estimated stem is to the true one, in dB: SDR and SI-SDR.

All channels and samples of a song are taken together as one vector. With r the reference, e the estimate and d = r − e:

    SDR     10 log10 |r|² / |d|²                          Mitsufuji et al. 2022, Music Demixing Challenge 2021
    SI-SDR  10 log10 |αr|² / |αr − e|²,  α = r·e / |r|²   Le Roux et al. 2019, SDR – half-baked or well done?

α is the same for all channels, and means are not removed. So a wrong balance and a constant offset count as errors. All
figures follow from four sums, which can be added up piece by piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

SILENCE_RMS = 1e-4  # −80 dBFS: dithered silence is below, quiet music above


@dataclass(frozen=True)
class Energies:
    """The sums that all figures follow from, over all channels and samples so far, in float64."""

    reference: float = 0.0  # |r|²
    estimate: float = 0.0  # |e|²
    error: float = 0.0  # |r − e|²
    cross: float = 0.0  # r·(r − e)
    count: int = 0  # of values

    def __add__(self, other: Energies) -> Energies:
        return Energies(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def silent(self) -> bool:
        """Whether the reference is silent, so that no SDR is defined."""
        return self.reference <= self.count * SILENCE_RMS**2

    @property
    def sdr_db(self) -> float:
        """The signal-to-distortion ratio: inf for a perfect estimate, nan if all is 0."""
        return decibels(self.reference, self.error)

    @property
    def si_sdr_db(self) -> float:
        """The scale-invariant SDR: −inf for an estimate that holds nothing of the reference, nan if that is 0."""
        if self.reference == 0:
            return math.nan
        projected = self.cross**2 / self.reference
        noise = self.error - projected  # the part of the error that is orthogonal to r
        target = (self.reference - self.cross) ** 2 / self.reference
        if target == 0:
            return -math.inf
        resolution = 1e-13 * max(self.error, target)  # noise below this is a rounding error of the sums
        return decibels(target, noise if noise > resolution else 0.0)


def decibels(numerator: float, denominator: float) -> float:
    """Return a ratio of energies in dB, 10 log10. For x/0 it is inf, for 0/x −inf, and for 0/0 nan."""
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf
    return 10 * math.log10(numerator / denominator) if numerator > 0 else -math.inf


def measure(reference: np.ndarray, estimate: np.ndarray) -> Energies:
    """Return the sums over two arrays (channels, samples). Raises: ValueError if their shapes differ."""
    if reference.shape != estimate.shape:
        raise ValueError(f"reference {reference.shape} and estimate {estimate.shape} differ in shape")
    r = reference.ravel().astype(np.float64)
    e = estimate.ravel().astype(np.float64)
    d = r - e
    return Energies(float(r @ r), float(e @ e), float(d @ d), float(r @ d), r.size)
