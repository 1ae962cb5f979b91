"""Stems → tempo, beats, key and chords of a song, heard block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from stemsplit.analysis.beats import Beat, steady
from stemsplit.analysis.chords import Chord, find_chords
from stemsplit.analysis.chroma import CLASSES, Chroma, Pitches, tuning_of
from stemsplit.analysis.key import Key, estimate_key
from stemsplit.analysis.onsets import Onsets
from stemsplit.analysis.tracker import track_beats
from stemsplit.audio.resample import Resampler

RATE = 22050
"""Hz that is listened to."""
DRUMS, BASS, HARMONY = "drums", "bass", "harmony"
_LOUDNESS = {DRUMS: 1.0, BASS: 0.5, HARMONY: 0.5}
"""How much what begins in each part counts for the beat."""
_HERTZ = {BASS: (30.0, 500.0), HARMONY: (55.0, 3500.0)}
_BASS_IN_KEY = 0.3
_STEP_S = 0.5
"""From chord to chord where there is no beat."""


@dataclass(frozen=True)
class Analysis:
    """What a song is made of.

    Attributes:
        beat: the steady tempo that fits the beats best, and the share of beats that lie on it.
        beats: their times in seconds, (n,).
        key: with its confidence.
        chords: one after the other, each with its confidence.
        tuning_hz: of A4.
        seconds: the length of the song.
    """

    beat: Beat
    beats: np.ndarray
    key: Key
    chords: Sequence[Chord]
    tuning_hz: float
    seconds: float

    @property
    def chords_confidence(self) -> float:
        """The mean confidence of the chords, weighted by their lengths."""
        lengths = [chord.end - chord.start for chord in self.chords]
        return float(np.average([chord.confidence for chord in self.chords], weights=lengths)) if sum(lengths) else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; times are seconds."""
        return {
            "tempo": {"bpm": round(self.beat.tempo.bpm, 2), "confidence": round(self.beat.confidence, 3)},
            "key": {"name": self.key.name, "confidence": round(self.key.confidence, 3)},
            "tuning_hz": round(self.tuning_hz, 2),
            "beats": [round(float(time), 3) for time in self.beats],
            "chords": [
                {"start": round(chord.start, 3), "end": round(chord.end, 3), "name": chord.name(self.key),
                 "confidence": round(chord.confidence, 3)} for chord in self.chords
            ],
            "chords_confidence": round(self.chords_confidence, 3),
        }  # fmt: skip


def part_of(stem: str) -> str | None:
    """Return the part that a stem belongs to; None of the voice. What is neither drums nor bass is harmony."""
    if stem in (DRUMS, BASS):
        return stem
    return None if stem == "vocals" else HARMONY


class Listener:
    """Hears the stems of a song, block by block. It keeps some 11 kB per second.

    Args:
        stems: their names, in the order of the blocks.
        rate: of the blocks, in Hz.
    """

    def __init__(self, stems: Sequence[str], rate: int) -> None:
        rows = [(name, [i for i, stem in enumerate(stems) if part_of(stem) == name]) for name in _LOUDNESS]
        self._rows = {name: found for name, found in rows if found}
        self._resampler = Resampler(rate, RATE, len(self._rows))
        self._onsets = {name: Onsets(RATE) for name in self._rows}
        self._pitches = {name: Pitches(RATE, *_HERTZ[name]) for name in self._rows if name in _HERTZ}
        self._rate, self.samples = rate, 0

    def add(self, outputs: np.ndarray) -> None:
        """Take the next block (stems, channels, n)."""
        self.samples += outputs.shape[-1]
        mono = outputs.mean(1)
        self._hear(self._resampler.push(np.stack([mono[rows].sum(0) for rows in self._rows.values()])))

    def _hear(self, parts: np.ndarray) -> None:
        for name, samples in zip(self._rows, parts, strict=True):
            for ear in (self._onsets[name], self._pitches.get(name)):
                if ear is not None:
                    ear.add(samples[None])

    def analysis(self) -> Analysis:
        """Return what was heard. Nothing can be added then."""
        self._hear(self._resampler.finish())
        seconds = self.samples / self._rate
        level = np.sum([_LOUDNESS[name] * onsets.strength() for name, onsets in self._onsets.items()], axis=0)
        beats = track_beats(level, next(iter(self._onsets.values())).hop / RATE)
        beats = beats[beats < seconds]
        chroma = {name: pitches.chroma() for name, pitches in self._pitches.items()}
        tuning = tuning_of(*chroma.values()) if chroma else 0.0
        tuned = {name: part.tuned(tuning) for name, part in chroma.items()}
        key = estimate_key(_shares(tuned))
        times = np.array(list(_edges(beats, seconds)))
        harmony, bass = (_between(chroma.get(name), tuned.get(name), times) for name in (HARMONY, BASS))
        chords = find_chords(harmony, bass, times, key)
        return Analysis(steady(beats), beats, key, chords, 440 * 2 ** (tuning / 12), seconds)


def _shares(tuned: dict[str, np.ndarray]) -> np.ndarray:
    """Return how much each pitch class sounds in a song, (12,)."""
    total = np.zeros(CLASSES)
    for name, frames in tuned.items():
        sums = frames.sum(0, dtype=np.float64)
        if (size := float(np.linalg.norm(sums))) > 0:
            total += (_BASS_IN_KEY if name == BASS else 1.0) * sums / size
    return total


def _edges(beats: np.ndarray, seconds: float) -> Iterator[float]:
    """Yield where chords may begin: at beats, and as far apart before the first one; 0 and the end are among them."""
    period = float(np.median(np.diff(beats))) if len(beats) > 1 else _STEP_S
    first = float(beats[0]) if len(beats) > 1 else seconds
    last = 0.0
    yield last
    before = first - period * np.arange(int(first / period), 0, -1)
    for time in [*before, *(beats if len(beats) > 1 else ())]:
        if last + period / 4 < time < seconds - period / 4:
            yield (last := float(time))
    if seconds > last:
        yield seconds


def _between(chroma: Chroma | None, tuned: np.ndarray | None, times: np.ndarray) -> np.ndarray:
    """Return the mean of frames (frames, 12) between times, (times - 1, 12); 0 where there are none."""
    found = np.zeros((max(0, len(times) - 1), CLASSES))
    if chroma is None or tuned is None or not len(tuned):
        return found
    places = np.clip(np.round(times / chroma.hop_s).astype(int), 0, len(tuned))
    for i, (start, end) in enumerate(pairwise(places)):
        rows = tuned[min(start, len(tuned) - 1) : max(end, start + 1)]
        found[i] = rows.mean(0)
    return found
