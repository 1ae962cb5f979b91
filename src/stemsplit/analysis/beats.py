"""A steady tempo, and that of a song from its drums by librosa's beat tracker (Ellis, JNMR 36(1), 2007).

The tracker finds beats that may drift. MIDI wants a steady grid, so a line is laid through the beats: its slope is the
tempo. How many beats lie close to the line is the confidence.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stemsplit.audio.formats import SILENT_PEAK
from stemsplit.errors import UsageError

SLOWEST, FASTEST = 20.0, 400.0
"""Beats per minute that are taken."""
USUAL = 120.0
"""Beats per minute where nothing is known: what a MIDI file without a tempo has."""
LONGEST_SECONDS = 600
"""So much of the song is listened to: memory must not grow with its length."""
CLOSE_S = 0.04
"""A beat this near to the steady grid counts as on it."""
FEWEST_BEATS = 8
_HOP_SECONDS = 0.01


class Tempo(NamedTuple):
    """A steady tempo."""

    bpm: float = USUAL
    first_beat: float = 0.0
    """Seconds until a beat. What lies before it counts as one beat, however long it lasts; 0: time starts on a beat."""

    def beats(self, seconds: float) -> float:
        """Return how many beats have passed at a time."""
        if self.first_beat == 0.0:
            return seconds * self.bpm / 60
        if seconds < self.first_beat:
            return seconds / self.first_beat
        return 1 + (seconds - self.first_beat) * self.bpm / 60

    @classmethod
    def through(cls, bpm: float, beat: float) -> Tempo:
        """Return the tempo that has a beat at `beat` seconds. Its first one comes half to one and a half beats in."""
        period = 60 / bpm
        offset = beat - math.floor(beat / period) * period
        return cls(bpm, offset if offset >= period / 2 else offset + period)


def checked_tempo(bpm: float) -> float:
    """Return beats per minute that a song can have.

    Raises:
        UsageError: it is no number from 20 to 400.
    """
    if not SLOWEST <= bpm <= FASTEST:
        raise UsageError(f"a tempo is {SLOWEST:g} to {FASTEST:g} beats per minute, not {bpm:g}")
    return bpm


class Beat(NamedTuple):
    """An estimate of the tempo."""

    tempo: Tempo
    confidence: float
    """The share of beats that lie on the steady grid, from 0 to 1."""


class Drums:
    """Gathers the beginning of a drums stem as mono at `rate` Hz."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._blocks: list[np.ndarray] = []
        self._missing = LONGEST_SECONDS * rate

    def add(self, samples: np.ndarray) -> None:
        """Take the next block (channels, n)."""
        taken = samples[:, : self._missing].mean(0, dtype=np.float32)
        self._missing -= len(taken)
        self._blocks.append(taken)

    def beat(self) -> Beat:
        """Estimate the tempo; the usual one with no confidence where nothing drums."""
        return estimate_beat(np.concatenate([np.zeros(0, np.float32), *self._blocks]), self.rate)


def check_beat_tracker() -> None:
    """Import librosa.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import librosa  # noqa: F401
    except ImportError as error:
        raise UsageError("--tempo auto needs librosa: pip install librosa, or give a number") from error


def estimate_beat(drums: np.ndarray, rate: int) -> Beat:
    """Estimate the tempo of drums (n,) at `rate` Hz.

    Raises:
        UsageError: librosa is not installed.
    """
    if np.abs(drums).max(initial=0.0) < SILENT_PEAK:
        return Beat(Tempo(), 0.0)
    check_beat_tracker()
    import librosa

    hop = round(_HOP_SECONDS * rate)
    onsets = librosa.onset.onset_strength(y=drums, sr=rate, hop_length=hop)
    _, times = librosa.beat.beat_track(onset_envelope=onsets, sr=rate, hop_length=hop, units="time", trim=False)
    return steady(np.asarray(times, float))


def steady(times: np.ndarray) -> Beat:
    """Lay a steady grid through beats at `times` (n,), in seconds."""
    if len(times) < FEWEST_BEATS:
        return Beat(Tempo(), 0.0)
    between = np.diff(times)
    numbers = np.concatenate([[0], np.round(between / np.median(between)).cumsum()])  # a missed beat leaves a gap
    period, start = np.polyfit(numbers, times, 1)
    bpm = 60 / period
    if not SLOWEST <= bpm <= FASTEST:
        return Beat(Tempo(), 0.0)
    close = np.abs(start + numbers * period - times) <= CLOSE_S
    return Beat(Tempo.through(float(bpm), float(start)), float(close.mean()))
