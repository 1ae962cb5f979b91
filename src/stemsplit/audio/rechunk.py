"""Blocks of any sizes → blocks of the sizes that somebody needs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import numpy as np


class Rechunker:
    """Arrays that follow one another along an axis, taken again in other pieces.

    It holds what was asked for, and at most one array beyond that.

    Args:
        blocks: arrays that differ in nothing but their length along `axis`.
        axis: the last one by default.
    """

    def __init__(self, blocks: Iterable[np.ndarray], axis: int = -1) -> None:
        self._blocks, self._axis = iter(blocks), axis
        self._held: np.ndarray | None = None

    def peek(self, count: int) -> np.ndarray | None:
        """Return the next `count`, or all that is left; None if there never was a block."""
        if not self._fill(count) or self._held is None:
            return self._held
        return self._slice(None, count)

    def drop(self, count: int) -> None:
        """Pass over the next `count`, which were peeked at."""
        if self._held is not None:
            self._held = self._slice(count, None)

    def take(self, count: int) -> np.ndarray | None:
        """Return the next `count` and pass over them; see `peek`."""
        found = self.peek(count)
        self.drop(count)
        return found

    def put_back(self, block: np.ndarray) -> None:
        """Let a block come before all others."""
        self._held = block if self._held is None else np.concatenate([block, self._held], axis=self._axis)

    def all_but(self, count: int) -> Iterator[np.ndarray]:
        """Yield what comes as it comes, and keep back the last `count`, which can be taken afterwards."""
        for block in self._blocks:
            self._held = block if self._held is None else np.concatenate([self._held, block], axis=self._axis)
            if (ready := self._length() - count) > 0:
                yield self._slice(None, ready)
                self.drop(ready)

    def _fill(self, count: int) -> bool:
        """Hold `count` if there are so many; return whether there are."""
        parts = [] if self._held is None else [self._held]
        missing = count - self._length()
        while missing > 0 and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            missing -= block.shape[self._axis]
        if parts:
            self._held = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=self._axis)
        return missing <= 0

    def _length(self) -> int:
        return 0 if self._held is None else self._held.shape[self._axis]

    def _slice(self, start: int | None, stop: int | None) -> np.ndarray:
        assert self._held is not None
        whole = [slice(None)] * self._held.ndim
        whole[self._axis] = slice(start, stop)
        return self._held[tuple(whole)]


def rechunked(blocks: Iterable[np.ndarray], count: int, axis: int = -1) -> Generator[np.ndarray]:
    """Yield the same values in blocks of `count` along an axis; the last may be shorter, and none is empty."""
    source = Rechunker(blocks, axis)
    while (block := source.take(count)) is not None and block.shape[axis]:
        yield block
