"""A pitch contour → segments of one note each, by dynamic programming.

Each voiced run is explained as a sequence of notes. A note may begin with a glide over any pitches. Then it holds one
pitch for at least `MIN_NOTE_S`. Of all explanations the one with the least cost is taken (Viterbi).

This is the note model of Tony (Mauch et al., "Computer-aided melody note transcription using the Tony software:
accuracy and efficiency", TENOR 2015): an attack state and a stable state for each pitch, three pitches per semitone,
and a deviation of 0.9 semitones in the stable state. Three things are different here. There is no silent state, since
voicing is decided already. The minimum length of a note is part of the model, and not a filter afterwards. And an
attack differs from a held note by its slope, so that fast steps stay notes, and slow glides do not become stairs of
notes.

Costs are in nats per 10 ms. In a vibrato of ±1 semitone at 5 Hz, a change of note in every half period would save
2.5 nats, which is less than `NOTE_COST`. A step of a semitone saves that much within 70 ms, a whole tone within 20 ms.
Trills and chromatic runs with notes of 100 ms or less are therefore not found: by pitch alone they look like vibrato.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MIN_NOTE_S = 0.08  # shorter sounds are ornaments or consonants
MAX_GAP_S = 0.03  # a shorter unvoiced gap is a hole in one sound; otherwise it is a pause
MERGE_SEMITONES = 0.6  # neighbours closer than this are one note that drifts
NOTE_COST = 4.0  # of each note
_STEPS = 3  # candidate pitches per semitone
_DEVIATION = 0.9  # semitones, of a held note
_OUTLIER_COST = 3.5  # the most that a frame of a held note costs, so that octave errors do not become notes
_GLIDE_COST, _REST_COST = 0.35, 1.0  # of a frame in a glide: if its pitch moves, and if it does not
_GLIDE_SPEED = 8.0  # semitones per second from which on a pitch counts as moving
_LONGEST_RUN_S = 60.0  # longer runs are cut, to bound the memory; `joined` puts the note at the cut together again


class Segment(NamedTuple):
    """The frames of one note."""

    start: int
    held: int  # the first frame after the glide
    end: int  # the first frame after the note
    semitones: float  # median from `held` on


def segments(semitones: np.ndarray, voiced: np.ndarray, hop: float) -> list[Segment]:
    """Split a contour into notes, in order and without overlap.

    Args:
        semitones: (n,) float64, the pitch in semitones above any reference; not used where unvoiced.
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
    """Return (first frame, first frame after) of each voiced run.

    Gaps shorter than `MAX_GAP_S` belong to the run. Runs shorter than `MIN_NOTE_S` are left out.
    """
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
    """Return the pitch of a run, with its gaps filled by linear interpolation."""
    known = start + np.flatnonzero(voiced[start:end])
    filled: np.ndarray = np.interp(np.arange(start, end), known, semitones[known])
    return filled


def _notes_of_run(pitch: np.ndarray, voiced: np.ndarray, hop: float) -> list[tuple[int, int, int]]:
    """Return (start, held, end) of the notes of one run (n,). Each note begins where the one before it ends.

    Border t lies between frame t − 1 and frame t. For each border there are three least costs of all frames before it:
    `stable[p]` if a note of pitch p is being held, and has been for long enough to end here; `ended[t]`, the least of
    these; and `entry[t]` if a note may begin to be held here, because a note ends here or a glide goes on until here.
    """
    shortest, weight = _frames(MIN_NOTE_S, hop), voiced * (hop / 0.01)
    grid = np.arange(np.floor(pitch.min() * _STEPS), np.ceil(pitch.max() * _STEPS) + 1) / _STEPS
    off = ((pitch[:, None] - grid) / _DEVIATION) ** 2 / 2
    held = np.minimum(off, _OUTLIER_COST) * weight[:, None]
    total = np.concatenate([np.zeros((1, len(grid))), np.cumsum(held, axis=0)])
    begin = total[shortest:] - total[:-shortest] + NOTE_COST  # cost of a note of pitch p in frames i … i + shortest − 1
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
    fall = np.cumsum(np.concatenate([[0.0], glide[::-1]]))[::-1]  # cost of a glide from border t to the end of the run
    return _traced(int(np.argmin(ended + fall)), shortest, pitch_of, begun, after_note)


def _glide_costs(pitch: np.ndarray, hop: float) -> np.ndarray:
    """Return the cost (n,) of each frame as part of a glide, by the speed of the pitch over 50 ms."""
    reach = max(1, round(0.025 / hop))
    padded = np.pad(pitch, reach, mode="edge")
    speed = np.abs(padded[2 * reach :] - padded[: -2 * reach]) / (2 * reach * hop)
    costs: np.ndarray = _REST_COST + (_GLIDE_COST - _REST_COST) * np.minimum(speed / _GLIDE_SPEED, 1)
    return costs


def _traced(
    last: int, shortest: int, pitch_of: np.ndarray, begun: np.ndarray, after_note: np.ndarray
) -> list[tuple[int, int, int]]:
    """Return the notes by going back through the tables, from the border `last` at which the last note ends."""
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
    """Join notes that follow one another without a gap, if `alike` says so of their pitches.

    They are one note that drifts or wavers, or one that the cut of a long run has divided.
    """
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
