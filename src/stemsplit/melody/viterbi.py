"""The likeliest path of pitch through a stream of posteriors, in bounded memory.

A path pays for what it does not hear (minus log probability) and for how it moves: `Motion.step` for every bin up or
down, never more than `Motion.jump`, and `Motion.jump` for anything beyond `Motion.reach` bins. Moves are free as far as
nobody sings, so that a note does not depend on the one before the pause.

    cost of a path = Σ_t −weight · log(p_t[b_t] + FLOOR) + voicing_t · move(b_t − b_{t−1})

The forward pass is that of the whole file. Going back, a frame is decided as soon as `LOOKAHEAD` later ones are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

WINDOW = 1024
"""Frames that are decided together; they and those ahead are all that is held in memory."""

LOOKAHEAD = 300
"""Later frames that a decision waits for: 3 s at 10 ms. Two paths that go on from there have met long before."""

FLOOR = 1e-2
"""Added to every probability, so that no frame forbids a pitch and a frame that is hardly sung says little."""


@dataclass(frozen=True)
class Motion:
    """What it costs to change the pitch from one frame to the next, in nats; ``weight`` scales what is heard."""

    step: float
    jump: float
    reach: int
    weight: float = 1.0

    def costs(self) -> np.ndarray:
        """The costs of moves by -reach … reach bins: (2 · reach + 1,) float32."""
        return np.minimum(self.step * np.abs(np.arange(-self.reach, self.reach + 1)), self.jump).astype(np.float32)

    def strides(self) -> tuple[int, ...]:
        """Strides that together make every move within reach: 1, 2, 4 … as far as needed."""
        strides: list[int] = []
        while (covered := sum(strides)) < self.reach:
            strides.append(min(covered + 1, self.reach - covered))
        return tuple(strides)


def follow(blocks: Iterable[np.ndarray], motion: Motion) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of posteriors (n, 1 + bins), non-voice first → the same rows, with the path's bins (n,) int64.

    The blocks that come out are cut elsewhere than those that go in.
    """
    rows: np.ndarray | None = None
    scores = np.empty((0, 0), dtype=np.float32)
    for block in blocks:
        if not len(block):
            continue
        if rows is None:
            rows, scores = block, _forward(block, motion, None)
        else:
            fresh = _forward(block, motion, (scores[-1], float(rows[-1, 0])))
            rows, scores = np.concatenate((rows, block)), np.concatenate((scores, fresh))
        if len(rows) >= WINDOW + LOOKAHEAD:
            decided = len(rows) - LOOKAHEAD
            yield rows[:decided], _back(scores, rows[:, 0], motion)[:decided]
            rows, scores = rows[decided:], scores[decided:]
    if rows is not None:
        yield rows, _back(scores, rows[:, 0], motion)


def _forward(rows: np.ndarray, motion: Motion, before: tuple[np.ndarray, float] | None) -> np.ndarray:
    """Scores of the best path to every bin of every frame, the best of a frame being 0: (n, bins) float32.

    ``before``: scores and non-voice of the frame before, if there is one.
    """
    scores = np.log(rows[:, 1:] + np.float32(FLOOR)) * np.float32(motion.weight)
    work = np.empty(scores.shape[1], dtype=np.float32)
    spare = np.empty_like(work)
    moves = [
        (stride, work[stride:], spare[:-stride], work[:-stride], spare[stride:])
        for stride in motion.strides()
        if stride < len(work)
    ]
    unsung = np.concatenate(([1.0 if before is None else before[1]], rows[:, 0]))
    voicing = (1 - np.maximum(unsung[1:], unsung[:-1])).tolist()
    last = before[0] if before is not None else np.zeros_like(work)
    for frame, score in enumerate(scores):
        # A maximum over |move| ≤ reach, less what it costs: each stride adds twice its own length to what is covered.
        np.copyto(work, last)
        for stride, upper, from_below, lower, from_above in moves:
            np.subtract(work, np.float32(voicing[frame] * motion.step * stride), out=spare)
            np.maximum(upper, from_below, out=upper)
            np.maximum(lower, from_above, out=lower)
        np.maximum(work, np.float32(-voicing[frame] * motion.jump), out=work)
        score += work
        score -= score.max()
        last = score
    return scores


def _back(scores: np.ndarray, unsung: np.ndarray, motion: Motion) -> np.ndarray:
    """The bins (n,) of the path that ends best in the last frame."""
    bins, reach, costs = scores.shape[1], motion.reach, motion.costs()
    voicing = (1 - np.maximum(unsung[1:], unsung[:-1])).tolist()
    best = scores.argmax(1).tolist()
    path = np.empty(len(scores), dtype=np.int64)
    path[-1] = bin_ = best[-1]
    for frame in range(len(scores) - 2, -1, -1):
        if bin_ != best[frame]:
            first, last = max(bin_ - reach, 0), min(bin_ + reach + 1, bins)
            near = (
                scores[frame, first:last]
                - np.float32(voicing[frame]) * costs[first - bin_ + reach : last - bin_ + reach]
            )
            nearest = int(near.argmax())
            # A jump comes from the best bin of all, whose score is 0.
            bin_ = first + nearest if near[nearest] >= -voicing[frame] * motion.jump else best[frame]
        path[frame] = bin_
    return path
