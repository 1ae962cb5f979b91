"""A melody over time: for every frame its pitch, how likely it is to be sung, and whether it counts as sung."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class Contour:
    """The pitch contour of a melody, with one entry per frame. Frame i is centred at i · `hop` seconds.

    Attributes:
        hop: seconds from frame to frame.
        frequency: (n,) float64 in Hz, above 0. In an unvoiced frame it is a guess: the pitch if the frame were sung
            after all. It is 0 only where a contour was read from a file without guesses.
        confidence: (n,) float32 from 0 to 1, the probability that the frame is sung.
        voiced: (n,) bool, whether the frame counts as sung.
    """

    hop: float
    frequency: NDArray[np.float64]
    confidence: NDArray[np.float32]
    voiced: NDArray[np.bool_]

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

    def __repr__(self) -> str:
        """Return one line instead of the arrays."""
        return f"Contour({len(self)} frames, every {1000 * self.hop:g} ms, {int(self.voiced.sum())} of them sung)"

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frequency)

    @property
    def times(self) -> NDArray[np.float64]:
        """Centres of the frames in seconds, from 0: (n,) float64."""
        return np.arange(len(self), dtype=np.float64) * self.hop
