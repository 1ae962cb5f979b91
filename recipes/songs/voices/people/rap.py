"""Rap: a person's own speech, with its own accents, laid on the beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from songs.composition.compose import swung
from songs.composition.score import Form, Section
from songs.voices.line import Manner, Sung, choose_manner
from songs.voices.people.singer import Singer
from songs.voices.people.syllables import Syllable
from songs.voices.voicebank import FRAME_SECONDS

_STEPS = (0.25, 1 / 3, 0.5, 2 / 3)  # beats from one syllable to the next
_STRETCHED = 1.3  # a syllable lasts at most so many times as long as it was said
_LINES = (4.0, 8.0)  # beats


def choose_delivery(rng: np.random.Generator) -> tuple[Manner, float]:
    """Draw a manner, whose `spoken` is how much of the accents is left, and semitones by which the voice is moved."""
    manner = replace(choose_manner(rng), formant=1.0, spoken=float(rng.uniform(0.4, 1.2)))
    return manner, float(rng.choice([0.0, 0.0, 1.0, 2.0, 3.0]))


def rapped_line(
    rng: np.random.Generator, form: Form, sections: Sequence[Section], singer: Singer
) -> tuple[list[Sung], list[Syllable | None]]:
    """Put what a person said on the beats of some sections, syllable by syllable.

    Lines last one or two bars, and end with a rest. Syllables come about as fast as they were said.

    Returns:
        The notes in seconds, whose pitch does not count, and the syllable of each.
    """
    step, lasting = _step(rng, form, singer), float(rng.choice(_LINES))
    notes: list[Sung] = []
    words: list[Syllable | None] = []
    at = int(rng.integers(len(singer.syllables)))
    for section in sections:
        for start in np.arange(section.start, section.start + section.beats, lasting):
            first = float(rng.choice([0.0, 0.0, step, 2 * step]))
            stop = min(lasting - float(rng.choice([0.5, 1.0, 1.5])), section.start + section.beats - start)
            for beat, word in _one_line(rng, singer, at, first, stop, step):
                began = form.seconds(swung(float(start) + beat, form.swing if step in (0.25, 0.5) else 0.0))
                said = (word.end - word.vowel) * FRAME_SECONDS * _STRETCHED
                level = float(rng.choice([0.8, 1.0, 1.25]))
                notes.append(Sung(max(began + float(rng.normal(0, 0.01)), 0.0), began + said, 60.0, level, None))
                words.append(word)
                at += 1
    return _in_turn(notes), words


def _one_line(
    rng: np.random.Generator, singer: Singer, at: int, beat: float, stop: float, step: float
) -> list[tuple[float, Syllable]]:
    """Return the beats of a line and the syllables on them: now and then one takes two steps."""
    line: list[tuple[float, Syllable]] = []
    while beat < stop - 1e-6:
        line.append((beat, singer.syllables[(at + len(line)) % len(singer.syllables)]))
        beat += step * (2 if rng.random() < 0.18 else 1)
    return line


def _step(rng: np.random.Generator, form: Form, singer: Singer) -> float:
    """Draw the beats from one syllable to the next, near to how fast the person speaks."""
    lengths = [after.vowel - word.vowel for word, after in zip(singer.syllables, singer.syllables[1:], strict=False)
               if after.run == word.run]  # fmt: skip
    usual = float(np.median(lengths)) * FRAME_SECONDS if lengths else 0.2
    off = np.array([abs(np.log(form.seconds(step) / usual)) for step in _STEPS])
    weights = np.exp(-((off / 0.3) ** 2)) * np.array([1.0, 0.35, 1.0, 0.2]) + 1e-6
    return float(rng.choice(_STEPS, p=weights / weights.sum()))


def _in_turn(notes: Sequence[Sung]) -> list[Sung]:
    """Return notes none of which lasts into the next one."""
    ends = [*(note.start for note in notes[1:]), np.inf][: len(notes)]
    return [note._replace(end=max(min(note.end, end), note.start + 0.03))
            for note, end in zip(notes, ends, strict=True)]  # fmt: skip
