"""A melody over time: what every frame sings, how sure that is, and whether it is sung at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Contour:
    """One entry per frame; frame i is centred at i · ``hop`` seconds.

    ``frequency``: (n,) float64 Hz, above 0: in an unvoiced frame it is the guess, were it sung after all. Only contours
    read from files that hold no guesses have 0 there.
    ``confidence``: (n,) float32 from 0 to 1, the probability that the frame is sung.
    ``voiced``: (n,) bool, the decision.
    """

    hop: float
    frequency: np.ndarray
    confidence: np.ndarray
    voiced: np.ndarray

    def __post_init__(self) -> None:
        if not 0 < self.hop < np.inf:
            raise ValueError(f"a contour's hop is a time above 0 s, not {self.hop}")
        shapes = {self.frequency.shape, self.confidence.shape, self.voiced.shape}
        if len(shapes) > 1 or self.frequency.ndim != 1:
            raise ValueError(f"a contour's columns are equally long, not {sorted(shapes)}")
        if self.voiced.dtype != np.bool_:
            raise ValueError(f"voiced is bool, not {self.voiced.dtype}")
        if not (np.isfinite(self.frequency) & (self.frequency >= 0)).all() or not self.frequency[self.voiced].all():
            raise ValueError("a contour's frequencies are above 0 Hz; 0 is for unvoiced frames without a guess")

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frequency)

    @property
    def times(self) -> np.ndarray:
        """Centres of the frames in seconds: (n,) float64, from 0."""
        return np.arange(len(self)) * self.hop
