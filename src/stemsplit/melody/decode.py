"""What a network believes of every frame → a contour: one pitch per frame and whether it is sung."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stemsplit.melody.contour import Contour
from stemsplit.melody.pitch import PitchGrid


@dataclass(frozen=True)
class Decoding:
    """How to read a contour out of posteriors.

    ``hop_ms``: time between frames of the contour. ``fmin``, ``fmax``: the only pitches to consider, in Hz.
    ``threshold``: a frame is sung from this probability on. ``smooth``: how pitches of neighbours are held together.
    """

    hop_ms: float = 10.0
    fmin: float | None = None
    fmax: float | None = None
    threshold: float = 0.5
    smooth: Literal["viterbi", "median", "none"] = "viterbi"


def decode(posteriors: Iterable[np.ndarray], grid: PitchGrid, hop: float, decoding: Decoding) -> Contour:
    """The melody in a stream of posteriors; being written."""
    raise NotImplementedError
