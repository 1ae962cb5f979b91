"""A line: what is sung, as notes in seconds with their syllables, and in which manner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from songs.composition.score import Form, Note
from songs.voices.voicebank import Bank, Syllable

REST = 0.08
"""Seconds between two notes that count as a rest."""


@dataclass(frozen=True)
class Manner:
    """How a singer sings: vibrato depth (semitones) and rate (Hz), glide (s), scoop (semitones), drift (semitones),
    formant scale (> 1: smaller mouth), breath (0..1 towards noise), melisma (chance to hold a syllable over a note);
    spoken: accents in semitones of a voice that speaks or raps instead (0: it sings); whisper: no pitch at all."""

    vibrato: float
    rate: float
    glide: float
    scoop: float
    drift: float
    formant: float
    breath: float
    melisma: float
    spoken: float = 0.0
    whisper: bool = False


def choose_manner(rng: np.random.Generator) -> Manner:
    """A singer's manner, drawn at random."""
    tuned = rng.random() < 0.15  # corrected by a machine: steps without glides
    return Manner(
        vibrato=0.0 if tuned else float(rng.uniform(0.05, 0.6)), rate=float(rng.uniform(4.5, 6.8)),
        glide=0.015 if tuned else float(rng.uniform(0.03, 0.12)),
        scoop=0.0 if tuned else float(rng.choice([0.0, 0.5, 1.0, 2.0])),
        drift=0.0 if tuned else float(rng.uniform(0.02, 0.15)),
        formant=float(np.clip(rng.normal(1.0, 0.09), 0.85, 1.2)), breath=float(rng.choice([0.0, 0.0, 0.05, 0.15])),
        melisma=float(rng.uniform(0.05, 0.3)),
    )  # fmt: skip


class Sung(NamedTuple):
    """A note in seconds with its syllable; `syllable` None holds the one before."""

    start: float
    end: float
    pitch: float
    level: float
    syllable: Syllable | None


def set_text(rng: np.random.Generator, form: Form, notes: Sequence[Note], bank: Bank, manner: Manner) -> list[Sung]:
    """Put random syllables under a melody; each takes the recording that starts from the vowel before it."""
    kana = [str(k) for k in rng.choice(sorted({key[1] for key in bank.syllables}), 10)]
    sung: list[Sung] = []
    vowel, last_end = "-", -1.0
    for note in notes:
        start = form.seconds(note.start) + float(rng.normal(0, 0.012))
        end = start + form.seconds(note.beats)
        rested = start - last_end > REST
        syllable = None
        if rested or rng.random() > manner.melisma:
            syllable = bank.find("-" if rested else vowel, kana[int(rng.integers(len(kana)))])
            vowel = syllable.vowel if syllable else vowel
        sung.append(Sung(max(start, 0.0), end, float(note.pitch), (note.velocity / 110) ** 1.5, syllable))
        last_end = end
    return sung


def sung_again(rng: np.random.Generator, sung: Sequence[Sung], shift: Sequence[float]) -> list[Sung]:
    """The same words once more, as doubles and harmonies have them: other timing, pitches moved by `shift`."""
    late = rng.normal(0, 0.015, len(sung))
    return [n._replace(start=max(n.start + d, 0.0), end=n.end + d, pitch=n.pitch + s)
            for n, d, s in zip(sung, late, shift, strict=True)]  # fmt: skip
