"""Chunks whose speakers come in any order → one stream, in which a speaker keeps its place.

A network that is trained without an order of its outputs may give the same two people in another order in every chunk.
So a chunk is turned to the order in which it agrees with the chunk before, where both overlap, and then is cross-faded
like any other:

    chunk 1   [  A A A A  | A . ]         agreement = Σ over speakers of the products of both waveforms,
              [  B B . .  | B B ]                     relative to their energies

    chunk 2               [ B B | . .  B B  ]    here it is higher turned around:
                          [ A . | . A  A A  ]    chunk 2 is turned

Where the overlap says nothing, because nobody speaks there, the order is found over a *bridge*: the last seconds in
which somebody spoke, followed by the first in which somebody speaks again, separated together. Its beginning is
compared with what came before, and its end with the chunk. So a silence of any length is crossed, at the price of one
more call. If that says nothing either, the order stays.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import NamedTuple

import numpy as np

from stemsplit.networks.contract import SeparatorConfig
from stemsplit.separation.chunks import Chunk, Chunking, OverlapAdd

FRAME_SECONDS = 0.05
HUSHED_DB = -35.0
"""Frames that are so far below the loudest one so far are silence."""
SURE = 0.2
"""The lead of the best order over the next one, of what identical waveforms have, from which an overlap is believed."""

Order = tuple[int, ...]
"""Which of a chunk's speakers comes first, second, …"""


class Choice(NamedTuple):
    """An order, and by how much it agrees more than the next best: from 0 to 1."""

    order: Order
    lead: float


def joiner(
    config: SeparatorConfig, chunking: Chunking, separate: Callable[[np.ndarray], np.ndarray]
) -> OverlapAdd | Stitcher:
    """Return what joins the chunks of a network (C, n) → (K, C, n), whose stems may have places or not."""
    return OverlapAdd(chunking) if config.aligned else Stitcher(chunking, config.sample_rate, separate)


class Stitcher:
    """Joins the estimates of consecutive chunks, handed to it one by one, as `chunks.OverlapAdd` does.

    Args:
        chunking: how the stream was cut.
        sample_rate: Hz.
        separate: the network, (C, n) → (K, C, n), for bridges.
    """

    def __init__(self, chunking: Chunking, sample_rate: int, separate: Callable[[np.ndarray], np.ndarray]) -> None:
        self._joined, self._separate = OverlapAdd(chunking), separate
        self._border, self._reach = chunking.border_samples, chunking.chunk_samples // 2
        self._frame = max(1, round(FRAME_SECONDS * sample_rate))
        self._loudest = 0.0
        self._end: np.ndarray | None = None  # of the last estimate, (K, C, border)
        self._past = np.zeros((0, 0, 0), np.float32)  # mixture and speakers where somebody spoke last, (1 + K, C, n)

    def add(self, chunk: Chunk, estimate: np.ndarray) -> np.ndarray | None:
        """Add the estimate (K, C, n) of a chunk, in whatever order; see `OverlapAdd.add`."""
        if not chunk.alone:
            estimate = self._turned(chunk.samples, estimate)
        return self._joined.add(chunk, estimate)

    def _turned(self, mixture: np.ndarray, estimate: np.ndarray) -> np.ndarray:
        """Return an estimate in the order of the stream so far."""
        self._loudest = max(self._loudest, float(self._levels(mixture).max()))
        if self._end is not None:
            estimate = estimate[list(self._order(mixture, estimate, self._end))]
        self._remember(mixture, estimate)
        return estimate

    def _order(self, mixture: np.ndarray, estimate: np.ndarray, end: np.ndarray) -> Order:
        heard = self._spoken(mixture[:, : self._border]) is not None
        found = compare(end, estimate[..., : self._border]) if heard else None
        if found is not None and found.lead >= SURE:
            return found.order
        bridged = self._over_a_bridge(mixture, estimate)
        if bridged is not None and (found is None or bridged.lead > found.lead):
            return bridged.order
        return found.order if found is not None else tuple(range(len(estimate)))

    def _over_a_bridge(self, mixture: np.ndarray, estimate: np.ndarray) -> Choice | None:
        """Return the order of a chunk by what was spoken last; None if nothing was, or nothing is now."""
        spoken, known = self._spoken(mixture), self._past.shape[-1]
        if spoken is None or not known:
            return None
        ahead = slice(spoken.start, min(spoken.start + self._reach, mixture.shape[-1]))
        bridge = self._separate(np.concatenate([self._past[0], mixture[:, ahead]], axis=-1))
        before = compare(self._past[1:], bridge[..., :known])
        after = compare(bridge[list(before.order)][..., known:], estimate[..., ahead])
        return Choice(after.order, min(before.lead, after.lead))

    def _remember(self, mixture: np.ndarray, estimate: np.ndarray) -> None:
        """Keep the end of the estimate, and the last seconds in which somebody spoke."""
        border = self._border
        fresh = np.concatenate([mixture[None], estimate])[..., border if self._end is not None else 0 :]
        self._end = estimate[..., estimate.shape[-1] - border :].copy()
        if (spoken := self._spoken(fresh[0])) is not None:
            parts = [self._past, fresh[..., spoken]] if self._past.size else [fresh[..., spoken]]
            self._past = np.concatenate(parts, axis=-1)[..., -self._reach :].copy()

    def _spoken(self, mixture: np.ndarray) -> slice | None:
        """Return the samples from the first frame in which somebody speaks to the last one; None if nobody does."""
        levels = self._levels(mixture)
        places = np.flatnonzero(levels > self._loudest * 10 ** (HUSHED_DB / 20))
        if not len(places):
            return None
        return slice(int(places[0]) * self._frame, (int(places[-1]) + 1) * self._frame)

    def _levels(self, mixture: np.ndarray) -> np.ndarray:
        """Return the RMS of every frame of (C, n); what is left at the end is a frame too."""
        power = np.square(mixture, dtype=np.float64).sum(axis=0)
        starts = np.arange(0, len(power), self._frame)
        found: np.ndarray = np.sqrt(np.add.reduceat(power, starts) / self._frame) if len(power) else np.zeros(1)
        return found


def compare(known: np.ndarray, estimate: np.ndarray) -> Choice:
    """Return the order in which an estimate (K, C, n) agrees best with known speakers (K, C, n)."""
    known, estimate = (speakers.reshape(len(speakers), -1).astype(np.float64) for speakers in (known, estimate))
    products = known @ estimate.T
    orders = list(permutations(range(len(known))))
    sums = np.array([products[range(len(known)), order].sum() for order in orders])
    best, second = np.argsort(-sums, kind="stable")[:2]
    whole = np.sqrt(np.square(known).sum() * np.square(estimate).sum())
    return Choice(orders[best], float((sums[best] - sums[second]) / whole) if whole > 0 else 0.0)
