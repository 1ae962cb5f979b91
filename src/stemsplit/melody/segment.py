"""A pitch contour → stretches of one note each, by dynamic programming.

A voiced run is explained as a row of notes: each may begin with a glide over any pitches, then holds one pitch for at
least `MIN_NOTE_S`. Of all such explanations the cheapest is taken (Viterbi). This is the note model of Tony (Mauch et
al., "Computer-aided melody note transcription using the Tony software: accuracy and efficiency", TENOR 2015: an attack
and a stable state for each pitch, three pitches to the semitone, a deviation of 0.9 semitones in the stable one) with
three changes. Voicing is decided already, so there is no silent state. A shortest note is part of the model, not a
sieve behind it. And an attack is told from a held note by its slope, so that fast steps stay notes and slow glides do
not become stairs.

Costs are nats per 10 ms. A vibrato of ±1 semitone at 5 Hz would save 2.5 nats per half period by changing notes, which
is less than `NOTE_COST`; a step of a semitone saves that much within 70 ms, one of a whole tone within 20 ms. Not found
are therefore trills and chromatic runs with notes of 100 ms and less: on pitch alone they cannot be told from vibrato.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MIN_NOTE_S = 0.08  # a shorter sound is an ornament or a consonant
MAX_GAP_S = 0.03  # an unvoiced gap below it is a hole in one sound, from it on a pause
MERGE_SEMITONES = 0.6  # neighbours closer than this are one note that drifts
NOTE_COST = 4.0  # of each note
_STEPS = 3  # candidate pitches per semitone
_DEVIATION = 0.9  # semitones, of a held note
_OUTLIER_COST = 3.5  # no frame costs more: an octave error of some frames is not a note
_GLIDE_COST, _REST_COST = 0.35, 1.0  # of a frame of a glide: where the pitch moves, and where it does not
_GLIDE_SPEED = 8.0  # semitones a second that surely move
_LONGEST_RUN_S = 60.0  # bounds the tables; a cut is mended as neighbours of one pitch are


class Segment(NamedTuple):
    """Frames start … end − 1 are one note; from `held` on its glide is over, and `semitones` is their median."""

    start: int
    held: int
    end: int
    semitones: float


def segments(semitones: np.ndarray, voiced: np.ndarray, hop: float) -> list[Segment]:
    """Split a contour into notes, in order and without overlap.

    Args:
        semitones: (n,) float64, any logarithmic pitch in semitones; of no account where unvoiced.
        voiced: (n,) bool.
        hop: seconds from frame to frame.
    """
    found: list[Segment] = []
    for start, end in runs(voiced, hop):
        for begin, held, stop in _notes_of_run(_filled(semitones, voiced, start, end), voiced[start:end], hop):
            span = Segment(start + begin, start + held, start + stop, 0.0)
            found.append(span._replace(semitones=_median(span, semitones, voiced)))
    return joined(found, semitones, voiced, lambda one, other: abs(one - other) < MERGE_SEMITONES)


def runs(voiced: np.ndarray, hop: float) -> list[tuple[int, int]]:
    """First and last + 1 of each voiced run of at least `MIN_NOTE_S`, across gaps below `MAX_GAP_S`."""
    edges = np.diff(np.concatenate([[False], voiced, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if len(starts) == 0:
        return []
    apart = (starts[1:] - ends[:-1]) * hop > MAX_GAP_S - 1e-6
    starts, ends = starts[np.concatenate([[True], apart])], ends[np.concatenate([apart, [True]])]
    shortest, longest = _frames(MIN_NOTE_S, hop), max(_frames(_LONGEST_RUN_S, hop), 2 * _frames(MIN_NOTE_S, hop))
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while end - start >= longest + shortest:
            found.append((start, start + longest))
            start += longest
        if end - start >= shortest:
            found.append((start, end))
    return found


def _frames(seconds: float, hop: float) -> int:
    return max(1, int(np.ceil(seconds / hop - 1e-6)))


def _filled(semitones: np.ndarray, voiced: np.ndarray, start: int, end: int) -> np.ndarray:
    """The pitch of a run, drawn straight across its gaps."""
    known = start + np.flatnonzero(voiced[start:end])
    return np.interp(np.arange(start, end), known, semitones[known])


def _notes_of_run(pitch: np.ndarray, voiced: np.ndarray, hop: float) -> list[tuple[int, int, int]]:
    """(start, held, end) of the notes of one run (n,), which cover it without a hole.

    At border t, between frame t − 1 and frame t, there are three best costs of the frames before it: `stable[p]`, of
    being in a note of pitch p that has lasted long enough; `ended[t]`, the least of these; and `entry[t]`, from
    which a note may start to be held: a note has ended, or a glide goes on.
    """
    shortest, weight = _frames(MIN_NOTE_S, hop), voiced * (hop / 0.01)
    grid = np.arange(np.floor(pitch.min() * _STEPS), np.ceil(pitch.max() * _STEPS) + 1) / _STEPS
    off = ((pitch[:, None] - grid) / _DEVIATION) ** 2 / 2
    held = np.minimum(off, _OUTLIER_COST) * weight[:, None]
    total = np.concatenate([np.zeros((1, len(grid))), np.cumsum(held, axis=0)])
    begin = total[shortest:] - total[:-shortest] + NOTE_COST  # of holding p over frames i … i + shortest − 1
    glide = _glide_costs(pitch, hop) * weight
    frames = len(pitch)
    entry, ended = np.concatenate([[0.0], np.cumsum(glide)]), np.full(frames + 1, np.inf)
    after_note = np.zeros(frames + 1, bool)
    pitch_of, begun = np.zeros(frames + 1, np.intp), np.zeros((frames + 1, len(grid)), bool)
    stable = np.full(len(grid), np.inf)
    for t in range(shortest, frames + 1):
        stable += held[t - 1]
        new = begin[t - shortest] + entry[t - shortest]
        np.less(new, stable, out=begun[t])
        np.minimum(new, stable, out=stable)
        pitch_of[t] = best = stable.argmin()
        ended[t] = stable[best]
        gliding = entry[t - 1] + glide[t - 1]
        after_note[t] = ended[t] <= gliding
        entry[t] = min(ended[t], gliding)
    fall = np.cumsum(np.concatenate([[0.0], glide[::-1]]))[::-1]  # the voice may slide away after its last note
    return _traced(int(np.argmin(ended + fall)), shortest, pitch_of, begun, after_note)


def _glide_costs(pitch: np.ndarray, hop: float) -> np.ndarray:
    """Cost (n,) of each frame as part of a glide, by the speed of the pitch over 50 ms."""
    reach = max(1, round(0.025 / hop))
    padded = np.pad(pitch, reach, mode="edge")
    speed = np.abs(padded[2 * reach :] - padded[: -2 * reach]) / (2 * reach * hop)
    return _REST_COST + (_GLIDE_COST - _REST_COST) * np.minimum(speed / _GLIDE_SPEED, 1)


def _traced(
    last: int, shortest: int, pitch_of: np.ndarray, begun: np.ndarray, after_note: np.ndarray
) -> list[tuple[int, int, int]]:
    """Walk the tables back from the border at which the last note ends."""
    notes, at, end = [], last, len(pitch_of) - 1
    while at > 0:
        pitch = pitch_of[at]
        while not begun[at, pitch]:
            at -= 1
        held = at = at - shortest
        while at > 0 and not after_note[at]:
            at -= 1
        notes.append((at, held, end))
        end = at
    return notes[::-1]


def joined(
    found: list[Segment], semitones: np.ndarray, voiced: np.ndarray, alike: Callable[[float, float], bool]
) -> list[Segment]:
    """Join notes that touch and are alike in pitch: a drift, a stumble inside a note, a cut of a long run."""
    merged: list[Segment] = []
    for segment in found:
        last = merged[-1] if merged else None
        if last and last.end == segment.start and alike(last.semitones, segment.semitones):
            both = last._replace(end=segment.end)
            merged[-1] = both._replace(semitones=_median(both, semitones, voiced))
        else:
            merged.append(segment)
    return merged


def _median(span: Segment, semitones: np.ndarray, voiced: np.ndarray) -> float:
    held = semitones[span.held : span.end]
    return float(np.median(held[voiced[span.held : span.end]]))
