"""The likeliest path of the pitch through a stream of posteriors, in bounded memory.

A path has two kinds of cost: for unlikely pitches (minus log probability), and for moves. A move costs `Motion.step`
for every bin up or down, but at most `Motion.jump`. A move by more than `Motion.reach` bins costs `Motion.jump`. The
less likely it is that somebody sings, the less a move costs, so that a note does not depend on the one before a pause.

    cost of a path = Σ_t −weight · log(p_t[b_t] + FLOOR) + voicing_t · move(b_t − b_{t−1})

The forward pass gives the same as for the whole file. The backward pass decides a frame when `LOOKAHEAD` later frames
are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

WINDOW = 1024
"""How many frames are decided together. These and those of the lookahead are all that is in memory."""

LOOKAHEAD = 300
"""How many later frames a decision waits for: 3 s at 10 ms. Going back that far, all good paths have become one."""

FLOOR = 1e-2
"""Added to every probability: no frame makes a pitch impossible, and frames that are hardly sung have little weight."""


@dataclass(frozen=True)
class Motion:
    """The costs, in nats, of changes of pitch from one frame to the next."""

    step: float  # for every bin
    jump: float  # the most that a move costs
    reach: int  # bins; a longer move is a jump
    weight: float = 1.0  # factor on the costs of unlikely pitches

    def costs(self) -> np.ndarray:
        """Return the costs of moves by -reach … reach bins: (2 · reach + 1,) float32."""
        return np.minimum(self.step * np.abs(np.arange(-self.reach, self.reach + 1)), self.jump).astype(np.float32)

    def strides(self) -> tuple[int, ...]:
        """Return strides 1, 2, 4 … whose sums give every move within reach."""
        strides: list[int] = []
        while (covered := sum(strides)) < self.reach:
            strides.append(min(covered + 1, self.reach - covered))
        return tuple(strides)


def follow(blocks: Iterable[np.ndarray], motion: Motion) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of the posteriors again, together with the bins of the path.

    Args:
        blocks: posteriors (n, 1 + bins), non-voice first.
        motion: the costs.

    Yields:
        (n, 1 + bins) rows, and (n,) int64 bins. The blocks have other sizes than those of the input.
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
    """Return the score of the best path to every bin of every frame, (n, bins) float32.

    A score is a negative cost. A constant is added in every frame, so that the best bin has score 0.

    Args:
        rows: posteriors (n, 1 + bins).
        motion: the costs.
        before: scores and p(non-voice) of the frame before, if there is one.
    """
    scores: np.ndarray = np.log(rows[:, 1:] + np.float32(FLOOR)) * np.float32(motion.weight)
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
        # The maximum of score minus cost over all moves within reach. With each stride, moves by up to the sum of the
        # strides so far are covered.
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
    """Return the bins (n,) of the path with the best score in the last frame."""
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
            # The best jump comes from the best bin, which has score 0.
            bin_ = first + nearest if near[nearest] >= -voicing[frame] * motion.jump else best[frame]
        path[frame] = bin_
    return path
