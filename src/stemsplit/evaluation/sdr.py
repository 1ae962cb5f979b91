"""How close an estimate is to the truth, in dB: SDR, SI-SDR and its gain over the mixture.

A stem of shape (channels, samples) counts as one long vector, and a song as a whole. With r the reference, e the
estimate and d = r − e:

    SDR     10 log10 |r|² / |d|²                          Mitsufuji et al. 2022, Music Demixing Challenge 2021
    SI-SDR  10 log10 |αr|² / |αr − e|²,  α = r·e / |r|²   Le Roux et al. 2019, SDR – half-baked or well done?

One α serves all channels and no mean is taken off, so a wrong balance or offset costs. All figures come from four sums,
which can be taken piece by piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

SILENCE_RMS = 1e-4  # −80 dBFS: dithered silence lies below, quiet music above


@dataclass(frozen=True)
class Energies:
    """The sums that every figure needs, over all channels and samples so far, in float64."""

    reference: float = 0.0  # |r|²
    estimate: float = 0.0  # |e|²
    error: float = 0.0  # |r − e|²
    cross: float = 0.0  # r·(r − e)
    count: int = 0

    def __add__(self, other: Energies) -> Energies:
        return Energies(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def silent(self) -> bool:
        """Whether the reference holds nothing to compare with."""
        return self.reference <= self.count * SILENCE_RMS**2

    @property
    def sdr_db(self) -> float:
        """Signal-to-distortion ratio; inf for a perfect estimate, nan for a reference of zeros."""
        return decibels(self.reference, self.error)

    @property
    def si_sdr_db(self) -> float:
        """Scale-invariant SDR; −inf for an estimate without anything of the reference, nan as above."""
        if self.reference == 0:
            return math.nan
        projected = self.cross**2 / self.reference
        noise = self.error - projected  # what is left of the error when its part along r is removed
        target = (self.reference - self.cross) ** 2 / self.reference
        if target == 0:
            return -math.inf
        resolution = 1e-13 * max(self.error, target)  # below it, noise is rounding of the three sums
        return decibels(target, noise if noise > resolution else 0.0)


def decibels(numerator: float, denominator: float) -> float:
    """10 log10 of a ratio of energies, with its limits: x/0 is inf, 0/x is −inf, 0/0 is nan."""
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf
    return 10 * math.log10(numerator / denominator) if numerator > 0 else -math.inf


def measure(reference: np.ndarray, estimate: np.ndarray) -> Energies:
    """The sums over two arrays of one shape, (channels, samples). Raises ValueError if the shapes differ."""
    if reference.shape != estimate.shape:
        raise ValueError(f"reference {reference.shape} and estimate {estimate.shape} differ in shape")
    r = reference.ravel().astype(np.float64)
    e = estimate.ravel().astype(np.float64)
    d = r - e
    return Energies(float(r @ r), float(e @ e), float(d @ d), float(r @ d), r.size)


def sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """SDR in dB of an estimate (channels, samples)."""
    return measure(reference, estimate).sdr_db


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant SDR in dB of an estimate (channels, samples)."""
    return measure(reference, estimate).si_sdr_db


def si_sdr_improvement(reference: np.ndarray, estimate: np.ndarray, mixture: np.ndarray) -> float:
    """SI-SDR in dB gained over the mixture (channels, samples)."""
    return si_sdr(reference, estimate) - si_sdr(reference, mixture)
