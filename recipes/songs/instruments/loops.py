"""Drum loops: recorded bars, brought to a song's tempo by playing them faster or slower, or by cutting them up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from songs.composition.score import BEATS_PER_BAR, Form
from songs.mix.effects import RATE

_STATED = re.compile(r"^(\d+)bpm")
_COUNTS = (16, 32, 8, 4, 24, 2)  # beats that a loop without a stated tempo may have, the likeliest first
_SLOWEST, _FASTEST = 88.0, 172.0
FURTHEST = 0.25
"""How far a loop's tempo may be from the song's, as a natural logarithm."""


class Loop(NamedTuple):
    """A loop of whole bars in 4/4: its file, its tempo in quarter notes per minute, and its length in beats."""

    path: Path
    tempo: float
    beats: int


def list_loops(folder: Path) -> tuple[Loop, ...]:
    """Return the loops among the Opus files of `folder`, in order of their names.

    A name that begins with, say, 120bpm states the tempo; a whole number of bars is taken then, and what is left is the
    last stroke's end. Other files are taken as an even number of beats between 88 and 172 a minute.
    """
    import soundfile

    loops = []
    for path in sorted(folder.rglob("*.opus")):
        stated, seconds = _STATED.match(path.name), soundfile.info(path).duration
        loop = _stated(path, float(stated[1]), seconds) if stated else _counted(path, seconds)
        if loop is not None:
            loops.append(loop)
    return tuple(loops)


def _stated(path: Path, tempo: float, seconds: float) -> Loop | None:
    bars = int((seconds * tempo / 60 + 0.1) // BEATS_PER_BAR)
    return Loop(path, tempo, bars * BEATS_PER_BAR) if bars else None


def _counted(path: Path, seconds: float) -> Loop | None:
    fits = (Loop(path, 60 * count / seconds, count) for count in _COUNTS)
    return next((loop for loop in fits if _SLOWEST <= loop.tempo <= _FASTEST), None)


def apart(loop: Loop, tempo: float) -> tuple[float, float]:
    """Return how far a loop is from a tempo, or from half or twice that, in natural logarithms; and 1, 0.5 or 2."""
    return min((abs(float(np.log(loop.tempo / (tempo * k)))), k) for k in (1.0, 0.5, 2.0))


def choose_loop(rng: np.random.Generator, loops: Sequence[Loop], words: Sequence[str], tempo: float) -> Loop | None:
    """Draw a loop near a tempo, one of those whose path has one of the words; None if there is none."""
    named = [loop for loop in loops if any(word in str(loop.path) for word in words)]
    near = [loop for loop in named if apart(loop, tempo)[0] < FURTHEST]
    return near[int(rng.integers(len(near)))] if near else None


def lay_loop(rng: np.random.Generator, form: Form, loop: Loop, seconds: float) -> np.ndarray:
    """Repeat a loop through the drum sections of a song: (2, samples).

    It is played faster or slower, or cut into sixteenths that keep their pitch.
    """
    multiple = apart(loop, form.tempo)[1]
    sound, beat = _read(loop.path), form.seconds(1.0) / multiple
    sound = sound[:, onset(sound) :]
    ratio = 60 / loop.tempo / beat
    whole = _cut_up(sound, loop, beat) if rng.random() < 0.5 else _resampled(sound, ratio)
    length = round(loop.beats * beat * RATE)
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    for section in form.active("drums"):
        first, end = (round(form.seconds(at) * RATE) for at in (section.start, section.start + section.beats))
        for lap in range(first, end, length):
            part = whole[:, : min(length, end - lap, audio.shape[1] - lap)]
            audio[:, lap : lap + part.shape[1]] += part
    return audio


def onset(sound: np.ndarray) -> int:
    """Return the sample at which a loop begins to sound: encoders put up to 0.1 s of silence before it."""
    start = np.abs(sound[:, : RATE // 10]).max(axis=0)
    loud = np.flatnonzero(start > 0.05 * np.abs(sound).max(initial=1e-9))
    return max(0, int(loud[0]) - 40) if len(loud) else 0


def _resampled(sound: np.ndarray, ratio: float) -> np.ndarray:
    """Play a loop `ratio` times as fast."""
    at = np.arange(0, sound.shape[1] - 1, ratio)
    return np.asarray([np.interp(at, np.arange(sound.shape[1]), side) for side in sound], np.float32)


def _cut_up(sound: np.ndarray, loop: Loop, beat: float) -> np.ndarray:
    """Lay a loop's sixteenths at their times in a tempo whose beat has so many seconds, each with a short fade."""
    old, new = 60 / loop.tempo / 4 * RATE, beat / 4 * RATE
    out = np.zeros((2, round(loop.beats * beat * RATE)), np.float32)
    fade = np.linspace(0, 1, 64, dtype=np.float32)
    for index in range(loop.beats * 4):
        first, at = round(index * old), round(index * new)
        part = sound[:, first : first + round(min(new, old * 1.02))].copy()
        part = part[:, : out.shape[1] - at]
        if part.shape[1] > 256:
            part[:, :64] *= fade
            part[:, -64:] *= fade[::-1]
        out[:, at : at + part.shape[1]] += part
    return out


@lru_cache(maxsize=32)
def _read(path: Path) -> np.ndarray:
    """Read a file as float32 (2, samples) at 44.1 kHz."""
    import soundfile
    import soxr

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = audio[:, :2] if audio.shape[1] > 1 else np.repeat(audio, 2, axis=1)
    return np.ascontiguousarray(soxr.resample(audio, rate, RATE).T, np.float32)
