"""Singers' characters: a vocal tract and a range that a voicebank is moved to, so that few voices become many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FORMANT_LIMITS = (0.72, 1.35)
"""The range of formant ratios in which what WORLD makes still sounds like a person."""


class Character(NamedTuple):
    """A kind of singer; ranges are (lowest, highest)."""

    name: str
    tract: tuple[float, float]
    """How high the resonances lie, relative to an average woman's."""
    centre: tuple[float, float]
    """The middle of what is sung, in MIDI semitones."""
    weight: float
    """How often such a singer is drawn."""


CHARACTERS = (
    Character("bass", (0.74, 0.84), (40.0, 47.0), 1.5),
    Character("tenor", (0.82, 0.92), (47.0, 56.0), 2.5),
    Character("alto", (0.93, 1.03), (54.0, 62.0), 2.0),
    Character("soprano", (0.98, 1.1), (60.0, 69.0), 2.0),
    Character("child", (1.12, 1.28), (63.0, 72.0), 0.7),
)


def choose_character(rng: np.random.Generator, tract: float, recorded_at: float) -> tuple[str, float, float]:
    """Draw a singer to make from a voice with this tract that was recorded at this MIDI pitch.

    In a quarter of the cases the voice stays about as it is.

    Returns:
        The character's name or "own", the formant ratio, and the middle of what is sung in MIDI semitones.
    """
    if rng.random() < 0.25:
        return "own", float(np.clip(rng.normal(1, 0.05), 0.88, 1.14)), recorded_at + float(rng.uniform(-6, 4))
    weights = np.array([character.weight for character in CHARACTERS])
    chosen = CHARACTERS[int(rng.choice(len(CHARACTERS), p=weights / weights.sum()))]
    formant = float(np.clip(rng.uniform(*chosen.tract) / tract, *FORMANT_LIMITS))
    return chosen.name, formant, float(rng.uniform(*chosen.centre))
