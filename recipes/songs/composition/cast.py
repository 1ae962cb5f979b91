"""Who plays in a song: everybody, a lead instrument in place of a voice, or hardly anybody."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Cast(NamedTuple):
    """Which stems a song has."""

    name: str
    absent: frozenset[str] = frozenset()
    """The stems that are silent."""
    lead: bool = False
    """Whether an instrument plays the melody in the place of a voice, and as loud."""
    kick_only: bool = False
    """Whether the drums are a kick drum, and the bass is a deep one."""


FULL = Cast("full")
_CASTS = (
    (FULL, 0.66),
    (Cast("lead instrument", frozenset({"vocals"}), lead=True), 0.12),
    (Cast("no bass", frozenset({"bass"})), 0.07),
    (Cast("bass alone", frozenset({"drums", "other", "vocals"})), 0.03),
    (Cast("kick and sub", frozenset({"other", "vocals"}), kick_only=True), 0.03),
    (Cast("kick, sub and voice", frozenset({"other"}), kick_only=True), 0.02),
    (Cast("drums and bass", frozenset({"other", "vocals"})), 0.03),
    (Cast("voice and instruments", frozenset({"drums", "bass"})), 0.04),
)


def draw_cast(rng: np.random.Generator) -> Cast:
    """Draw a song's cast: mostly a full one."""
    weights = np.array([weight for _, weight in _CASTS])
    return _CASTS[int(rng.choice(len(_CASTS), p=weights / weights.sum()))][0]
