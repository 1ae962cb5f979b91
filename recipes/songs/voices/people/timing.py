"""Syllables laid on notes: which frame of a person's speech sounds at each frame of a song.

Consonants keep their speed, the steadiest part of a vowel is held, and a vowel begins where its note does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from songs.voices.line import REST, Sung
from songs.voices.people.syllables import Syllable
from songs.voices.voicebank import FRAME_SECONDS

_HASTE = 0.55  # consonants and unheld vowels last at least so much of their time
_HEAD = 0.42  # of the note before goes to the consonants of the next one, at most
_CODA = 24  # frames after a note's end that consonants may take
_BOOST = 3.0  # how far syllables are brought to the same loudness: natural logarithm of a power
_EVEN = 0.8  # how much of the difference is taken away
_WANDER = 15  # frames from one movement of a held vowel to the next
SILENT = -1
"""The row of a frame in which nothing sounds."""


class Laid(NamedTuple):
    """What sounds at each frame of a song."""

    rows: np.ndarray
    """(frames,): a frame of the talk, or `SILENT`."""
    gain: np.ndarray
    """(frames,): natural logarithm of a power to be added."""


def lay(
    rng: np.random.Generator, notes: Sequence[Sung], words: Sequence[Syllable | None], loudness: float, frames: int
) -> Laid:
    """Lay a syllable on every note, or hold the one before where there is none.

    Args:
        rng: Draws how a held vowel moves.
        notes: The notes in order.
        words: The syllable of every note; None holds the one before.
        loudness: What syllables are brought near to; natural logarithm of a power.
        frames: The length of the song.
    """
    rows, knots, gains = np.full(frames, SILENT), [0], [0.0]
    heads = [index for index, word in enumerate(words) if word is not None]
    free = 0  # the first frame that is not taken yet
    for at, index in enumerate(heads):
        word, note = words[index], notes[index]
        assert word is not None
        following = heads[at + 1] if at + 1 < len(heads) else len(notes)
        end = notes[following - 1].end
        after = notes[following].start if following < len(notes) else np.inf
        start, joined = _frame(note.start), after - end < REST
        head = _consonants(word, min(start - free, word.vowel - word.onset))
        rows[max(start - len(head), 0) : start] = head[max(len(head) - start, 0) :]
        if joined:
            stop = max(_frame(after) - _head_of(words[following], _frame(after) - start), start)
        else:
            stop = min(_frame(end) + min(word.end - word.hold_to, _CODA), _frame(after) if after < np.inf else frames)
        stop = min(stop, frames)
        rows[start:stop] = _body(rng, word, max(stop - start, 0))
        free = stop
        knots += [start, max(stop, start + 1)]
        gains += [_gain(word, loudness) + 2 * float(np.log(note.level))] * 2
    return Laid(rows, np.interp(np.arange(frames), knots, gains))


def _frame(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def _head_of(word: Syllable | None, room: int) -> int:
    """Return how many frames before its note the next syllable takes, where there are so many from note to note."""
    return 0 if word is None else min(word.vowel - word.onset, int(_HEAD * room))


def _consonants(word: Syllable, length: int) -> np.ndarray:
    """Return the rows before a vowel in so many frames: sped up, and if that is not enough cut at the front."""
    length = max(length, 0)
    onset = max(word.onset, word.vowel - int(length / _HASTE))
    return np.linspace(onset, word.vowel, length, endpoint=False).astype(int)


def _body(rng: np.random.Generator, word: Syllable, length: int) -> np.ndarray:
    """Return the rows of a vowel and what follows it, in so many frames."""
    natural = word.end - word.vowel
    spare = length - (natural - (word.hold_to - word.hold_from))
    if spare < 1:
        end = min(word.end, word.vowel + int(length / _HASTE) + 1)
        return np.linspace(word.vowel, end, length, endpoint=False).astype(int)
    held = hold(rng, word.hold_to - word.hold_from, spare) + word.hold_from
    return np.concatenate([np.arange(word.vowel, word.hold_from), held, np.arange(word.hold_to, word.end)])


def hold(rng: np.random.Generator, width: int, length: int) -> np.ndarray:
    """Return rows from 0 to `width` - 1, so many of them: once through, slowed down, and never quite still."""
    along = np.linspace(0, width, length, endpoint=False)
    knots = np.arange(0, length + _WANDER, _WANDER)
    trembling = np.interp(np.arange(length), knots, rng.normal(0, 0.6, len(knots)))
    return np.clip(along + trembling * (length > width), 0, width - 1).astype(int)


def _gain(word: Syllable, loudness: float) -> float:
    return float(np.clip(_EVEN * (loudness - word.loudness), -_BOOST, _BOOST))
