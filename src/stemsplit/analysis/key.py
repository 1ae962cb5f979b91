"""How often each pitch class sounds → the key, by the profiles of Krumhansl and Kessler (1982)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stemsplit.analysis.chroma import CLASSES

MODES = ("major", "minor")
PROFILES = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)
"""How well each class above the tonic fits a key, (modes, classes)."""
SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_FLAT_MAJORS = (1, 3, 5, 8, 10)
"""Tonics of the major keys that are written with flats."""
_SHARPNESS = 16.0
"""Measured: with it the confidence is about the share of keys that are right."""


class Key(NamedTuple):
    """A key, `tonic` as a pitch class, and how sure it is, from 0 to 1. Without confidence it is C major."""

    tonic: int = 0
    mode: str = "major"
    confidence: float = 0.0

    @property
    def flat(self) -> bool:
        """Whether it is written with flats."""
        return (self.tonic + (3 if self.mode == "minor" else 0)) % CLASSES in _FLAT_MAJORS

    @property
    def name(self) -> str:
        """The key, as in "Bb minor"."""
        return f"{self.spelled(self.tonic)} {self.mode}"

    @property
    def tag(self) -> str:
        """The key as ID3 has it: Bbm."""
        return self.spelled(self.tonic) + ("m" if self.mode == "minor" else "")

    def spelled(self, pitch_class: int) -> str:
        """Return the name of a pitch class in this key."""
        return (FLATS if self.flat else SHARPS)[pitch_class]


def estimate_key(shares: np.ndarray) -> Key:
    """Return the key in which pitch classes (12,) sound so much; without confidence where all are alike.

    The confidence is what of all 24 keys' likelihoods falls to the best one.
    """
    centred = shares - shares.mean()
    if not (size := float(np.linalg.norm(centred))) > 1e-9:
        return Key()
    profiles = PROFILES - PROFILES.mean(1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    fits = np.array([[np.roll(profile, tonic) @ centred / size for tonic in range(CLASSES)] for profile in profiles])
    likely = np.exp(_SHARPNESS * (fits - fits.max()))
    mode, tonic = divmod(int(fits.argmax()), CLASSES)
    return Key(tonic, MODES[mode], float(1 / likely.sum()))
