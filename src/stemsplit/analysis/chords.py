"""Pitch classes from beat to beat → chords, major and minor, by a hidden Markov model.

A beat is heard as the chord whose notes fit the harmony, and whose root fits the bass. Chords stay, rather than change,
and those of the key are likelier. The path is Viterbi's; the confidence comes from the forward and backward sums.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stemsplit.analysis.chroma import CLASSES
from stemsplit.analysis.key import Key

QUALITIES = ("maj", "min")
_TRIADS = ((0, 4, 7), (0, 3, 7))
NOTHING = 24
"""The state in which no chord sounds; state 12 · quality + root is a chord."""
_OF_KEY = {"major": ((0, 0), (5, 0), (7, 0), (2, 1), (4, 1), (9, 1)),
           "minor": ((0, 1), (5, 1), (7, 1), (3, 0), (8, 0), (10, 0), (7, 0))}  # fmt: skip
"""Mode → (semitones above the tonic, quality) of the chords that belong to it."""
_CONTRAST, _BASS, _FIFTH = 6.0, 1.0, 0.3
"""How much the fit counts; the bass beside the harmony; a fifth in the bass beside a root."""
_STAYS, _BELONGS = 3.0, 1.0
_QUIET = 0.2
"""A fit that is worse than this is no chord."""


class Chord(NamedTuple):
    """A chord between two times in seconds: `root` is a pitch class, and None where nothing sounds."""

    start: float
    end: float
    root: int | None
    quality: str
    confidence: float

    def name(self, key: Key) -> str:
        """Return it as musicians write it: Am, F#, or N for none."""
        return "N" if self.root is None else key.spelled(self.root) + ("m" if self.quality == "min" else "")

    def label(self, key: Key) -> str:
        """Return it as MIREX writes it: A:min."""
        return "N" if self.root is None else f"{key.spelled(self.root)}:{self.quality}"


def find_chords(harmony: np.ndarray, bass: np.ndarray, times: np.ndarray, key: Key) -> list[Chord]:
    """Return the chords of a song, one after the other.

    Args:
        harmony: (beats, 12) of pitch classes.
        bass: likewise.
        times: where the beats begin and the last one ends, (beats + 1,) in seconds.
        key: of the song.
    """
    if not len(harmony):
        return []
    fits, changes = _fits(harmony, bass), _changes(key)
    path, sure = _likeliest(fits, changes), _posterior(fits, changes)
    starts = [0, *(i for i in range(1, len(path)) if path[i] != path[i - 1])]
    return [
        _chord(path[a], float(times[a]), float(times[b]), float(sure[a:b, path[a]].mean()))
        for a, b in zip(starts, [*starts[1:], len(path)], strict=True)
    ]


def _chord(state: int, start: float, end: float, confidence: float) -> Chord:
    if state == NOTHING:
        return Chord(start, end, None, "", confidence)
    quality, root = divmod(state, CLASSES)
    return Chord(start, end, root, QUALITIES[quality], confidence)


def _templates() -> tuple[np.ndarray, np.ndarray]:
    """Return the notes and the basses of all chords, (24, 12) each."""
    notes, basses = np.zeros((2, NOTHING, CLASSES))
    for state in range(NOTHING):
        quality, root = divmod(state, CLASSES)
        notes[state, [(root + step) % CLASSES for step in _TRIADS[quality]]] = 1
        basses[state, root], basses[state, (root + 7) % CLASSES] = 1, _FIFTH
    return _unit(notes), basses


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows without their means, of length 1; those that are flat are 0."""
    centred = rows - rows.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred, dtype=float), where=length > 1e-9))


def _fits(harmony: np.ndarray, bass: np.ndarray) -> np.ndarray:
    """Return how well each chord, or none, fits each beat, (beats, 25)."""
    notes, basses = _templates()
    heard = bass.sum(1, keepdims=True)
    low = np.divide(bass, heard, out=np.zeros_like(bass, dtype=float), where=heard > 1e-9)
    fits = _unit(harmony) @ notes.T + _BASS * low @ basses.T
    return np.asarray(_CONTRAST * np.concatenate([fits, np.full((len(fits), 1), _QUIET)], axis=1))


def _changes(key: Key) -> np.ndarray:
    """Return the logarithm, but for a constant, of how likely a chord follows another, (25, 25)."""
    belongs = np.zeros(NOTHING + 1)
    for step, quality in _OF_KEY[key.mode] if key.confidence else ():
        belongs[quality * CLASSES + (key.tonic + step) % CLASSES] = _BELONGS
    changes = np.tile(belongs, (NOTHING + 1, 1))
    np.fill_diagonal(changes, _STAYS)
    return changes


def _likeliest(fits: np.ndarray, changes: np.ndarray) -> list[int]:
    score, before = fits[0], []
    for fit in fits[1:]:
        came = score[:, None] + changes
        before.append(came.argmax(0))
        score = came.max(0) + fit
    path = [int(score.argmax())]
    for back in reversed(before):
        path.append(int(back[path[-1]]))
    return path[::-1]


def _posterior(fits: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Return the probability of each chord at each beat, (beats, 25)."""
    moves, seen = np.exp(changes - changes.max()), np.exp(fits - fits.max(1, keepdims=True))
    forward, backward = np.empty_like(fits), np.empty_like(fits)
    forward[0], backward[-1] = seen[0] / seen[0].sum(), 1.0
    for i in range(1, len(fits)):
        forward[i] = forward[i - 1] @ moves * seen[i]
        forward[i] /= forward[i].sum()
    for i in range(len(fits) - 2, -1, -1):
        backward[i] = moves @ (seen[i + 1] * backward[i + 1])
        backward[i] /= backward[i].sum()
    both = forward * backward
    return np.asarray(both / both.sum(1, keepdims=True))
