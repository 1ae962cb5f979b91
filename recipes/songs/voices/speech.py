"""The pitch of spoken and rapped lines.

Phrases fall, with accents, and drop or rise at the end. No note is held.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.voices.line import Sung
from songs.voices.voicebank import FRAME_SECONDS

_BREATH = 0.12  # seconds between syllables that end a phrase


def speech_contour(rng: np.random.Generator, spoken: Sequence[Sung], frames: int, spread: float) -> np.ndarray:
    """Return f0 (frames,) in MIDI semitones every 5 ms.

    Of the notes' pitches only the mean counts: each phrase begins above it and falls. `spread` is the size of the
    accents in semitones; a small one makes a flat rap.
    """
    centre = float(np.mean([note.pitch for note in spoken])) if spoken else 60.0
    times, pitches = [0.0], [centre]
    for phrase in phrases_of(spoken):
        slope, top = rng.uniform(0.5, 1.5) * spread, centre + rng.normal(0, 0.5) * spread
        for index, note in enumerate(phrase):
            along = index / max(len(phrase) - 1, 1)
            accent = spread * rng.choice([0.0, 0.0, 0.6, 1.2]) + rng.normal(0, 0.25 * spread)
            middle = (note.start + note.end) / 2
            times += [note.start, middle, note.end]
            pitches += [top - slope * along + accent * 0.5, top - slope * along + accent, top - slope * (along + 0.15)]
        pitches[-1] += float(rng.choice([-1.5, -0.8, 1.2])) * spread
    order = np.argsort(times, kind="stable")
    contour = np.interp(np.arange(frames) * FRAME_SECONDS, np.array(times)[order], np.array(pitches)[order])
    smooth = np.hanning(15)
    jitter = np.convolve(rng.normal(0, 0.6, frames), smooth / smooth.sum(), mode="same")
    spoken_pitch: np.ndarray = contour + jitter
    return spoken_pitch


def phrases_of(spoken: Sequence[Sung]) -> list[list[Sung]]:
    """Return the notes in groups, each of which ends with a rest."""
    groups: list[list[Sung]] = []
    for note in spoken:
        if groups and note.start - groups[-1][-1].end <= _BREATH:
            groups[-1].append(note)
        else:
            groups.append([note])
    return groups
