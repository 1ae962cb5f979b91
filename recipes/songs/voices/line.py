"""A line: what is sung, as notes in seconds with their syllables, and in which manner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from songs.composition.score import Form, Note
from songs.voices.voicebank import Bank, Syllable

REST = 0.08
"""Seconds between two notes that make a rest."""


@dataclass(frozen=True)
class Manner:
    """How a singer sings."""

    vibrato: float
    """Depth of the vibrato in semitones."""
    rate: float
    """Rate of the vibrato in Hz."""
    glide: float
    """Seconds from one pitch to the next."""
    scoop: float
    """Semitones below the pitch at which a phrase begins."""
    drift: float
    """Semitones by which the pitch wanders."""
    formant: float
    """How high the resonances lie, relative to the recording's."""
    breath: float
    """Noise in the voice, from 0 to 1."""
    melisma: float
    """Probability that a note holds the syllable before it."""
    spoken: float = 0.0
    """Accents in semitones of a voice that speaks or raps; 0: it sings."""
    whisper: bool = False
    """Whether the voice has no pitch at all."""


def choose_manner(rng: np.random.Generator) -> Manner:
    """Draw a singer's manner."""
    tuned = rng.random() < 0.15  # as corrected by a machine: steps without glides
    return Manner(
        vibrato=0.0 if tuned else float(rng.uniform(0.05, 0.6)), rate=float(rng.uniform(4.5, 6.8)),
        glide=0.015 if tuned else float(rng.uniform(0.03, 0.12)),
        scoop=0.0 if tuned else float(rng.choice([0.0, 0.5, 1.0, 2.0])),
        drift=0.0 if tuned else float(rng.uniform(0.02, 0.15)),
        formant=float(np.clip(rng.normal(1.0, 0.09), 0.85, 1.2)), breath=float(rng.choice([0.0, 0.0, 0.05, 0.15])),
        melisma=float(rng.uniform(0.05, 0.3)),
    )  # fmt: skip


class Sung(NamedTuple):
    """A note with its syllable; times are in seconds, the pitch in MIDI semitones."""

    start: float
    end: float
    pitch: float
    level: float
    """Gain, 1 for a velocity of 110."""
    syllable: Syllable | None
    """None holds the syllable before."""


class Backing(NamedTuple):
    """A voice that sings the words of a lead behind it."""

    place: float
    """From -1 (left) to 1 (right)."""
    gain: float
    shift: list[float]
    """How far each note is from the lead's, in semitones."""
    manner: Manner


def set_text(rng: np.random.Generator, form: Form, notes: Sequence[Note], bank: Bank, manner: Manner) -> list[Sung]:
    """Put random syllables under a melody, each recorded after the vowel that comes before it here."""
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
    """Return the same words once more, with other timing, and each note moved by its `shift` in semitones."""
    late = rng.normal(0, 0.015, len(sung))
    return [n._replace(start=max(n.start + d, 0.0), end=n.end + d, pitch=n.pitch + s)
            for n, d, s in zip(sung, late, shift, strict=True)]  # fmt: skip
