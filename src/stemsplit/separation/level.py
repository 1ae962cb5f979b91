"""The level of a whole song, which some networks want to be 0 ± 1: Demucs (arXiv 1911.13254) was trained so.

The mean and the deviation are those of the mean of all channels. One pass over the song before it is separated finds
them, in memory that does not grow with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-8
"""Added to the deviation, for songs that are silent."""


@dataclass(frozen=True)
class Level:
    """The mean and the deviation of a song in mono."""

    mean: float
    deviation: float

    def taken_out(self, mixture: np.ndarray) -> np.ndarray:
        """Return a block (channels, n) of the song as the network hears it, in float32."""
        heard: np.ndarray = (mixture - np.float32(self.mean)) / np.float32(self.deviation)
        return heard

    def put_back(self, stems: np.ndarray) -> np.ndarray:
        """Return a block of the stems (K, channels, n) of such a song, as loud as in the song itself."""
        loud: np.ndarray = stems * np.float32(self.deviation) + np.float32(self.mean)
        return loud


def level_of(blocks: Iterable[np.ndarray]) -> Level:
    """Return the level of a song in blocks (channels, n), n ≥ 0.

    The sums of blocks are joined by the formula of Chan, Golub and LeVeque (1983), which loses no digits where the mean
    is far from 0. Samples that are not finite are left to those who refuse them, and count as silence here.
    """
    count, mean, squares = 0, 0.0, 0.0  # squares: of all that differs from the mean
    for block in blocks:
        mono = np.nan_to_num(block.mean(axis=0, dtype=np.float64), posinf=0, neginf=0)
        if not (added := len(mono)):
            continue
        own = float(mono.mean())
        away = own - mean
        squares += float(np.square(mono - own).sum()) + away**2 * count * added / (count + added)
        count += added
        mean += away * added / count
    return Level(mean, math.sqrt(squares / (count - 1) if count > 1 else 0.0) + EPSILON)
