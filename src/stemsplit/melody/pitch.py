"""The pitches that a network tells apart: bins with even steps of log-frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

CENTS_PER_OCTAVE = 1200.0


@dataclass(frozen=True)
class PitchGrid:
    """Bin k is centred at ``lowest_hz`` · 2^(k · ``cents`` / 1200) Hz, k from 0 to ``bins`` - 1."""

    lowest_hz: float
    cents: float
    bins: int

    def __post_init__(self) -> None:
        if not (0 < self.lowest_hz < np.inf and 0 < self.cents < np.inf and self.bins >= 1):
            raise ValueError(f"not a grid of pitches: {self}")

    def hz(self) -> np.ndarray:
        """Return the centre of every bin in Hz: (bins,) float64, ascending."""
        return self.hz_of(np.arange(self.bins))

    def hz_of(self, bins: ArrayLike) -> np.ndarray:
        """Return the frequencies in Hz of (fractional) bins of any shape, also beyond the ends of the grid."""
        octaves = np.asarray(bins, dtype=np.float64) * (self.cents / CENTS_PER_OCTAVE)
        return np.asarray(self.lowest_hz * np.exp2(octaves))

    def bins_of(self, hz: ArrayLike) -> np.ndarray:
        """Return the fractional bins of frequencies above 0 Hz, of any shape. It is the inverse of `hz_of`."""
        octaves = np.log2(np.asarray(hz, dtype=np.float64) / self.lowest_hz)
        return np.asarray(octaves * (CENTS_PER_OCTAVE / self.cents))
