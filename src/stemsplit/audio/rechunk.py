"""Blocks of any sizes → blocks of chosen sizes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import numpy as np


class Rechunker:
    """A stream of arrays that can be taken in pieces of any size.

    It holds no more than what was asked for and one array of the stream.

    Args:
        blocks: arrays that follow one another along `axis` and differ only in their length along it.
        axis: by default the last one.
    """

    def __init__(self, blocks: Iterable[np.ndarray], axis: int = -1) -> None:
        self._blocks, self._axis = iter(blocks), axis
        self._held: np.ndarray | None = None

    def peek(self, count: int) -> np.ndarray | None:
        """Return the next `count` entries, or as many as are left. Return None if the stream had no array at all."""
        if not self._fill(count) or self._held is None:
            return self._held
        return self._slice(None, count)

    def drop(self, count: int) -> None:
        """Remove the next `count` entries, which `peek` has returned."""
        if self._held is not None:
            self._held = self._slice(count, None)

    def take(self, count: int) -> np.ndarray | None:
        """Return what `peek` returns, and remove it."""
        found = self.peek(count)
        self.drop(count)
        return found

    def put_back(self, block: np.ndarray) -> None:
        """Insert a block before what is left of the stream."""
        self._held = block if self._held is None else np.concatenate([block, self._held], axis=self._axis)

    def all_but(self, count: int) -> Iterator[np.ndarray]:
        """Yield everything but the last `count` entries, as it comes. What was kept back can be taken afterwards."""
        for block in self._blocks:
            self._held = block if self._held is None else np.concatenate([self._held, block], axis=self._axis)
            if (ready := self._length() - count) > 0:
                yield self._slice(None, ready)
                self.drop(ready)

    def _fill(self, count: int) -> bool:
        """Read until `count` entries are held. Return False if the stream ends before that."""
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


def trimmed(blocks: Iterable[np.ndarray], start: int, stop: int | None) -> Generator[np.ndarray]:
    """Yield entries from `start` on along the last axis, up to `stop`. What comes behind it is not asked for."""
    at = 0
    for block in blocks:
        first, last = max(0, start - at), block.shape[-1] if stop is None else min(block.shape[-1], stop - at)
        at += block.shape[-1]
        if last > first:
            yield block[..., first:last]
        if stop is not None and at >= stop:
            return


def rechunked(blocks: Iterable[np.ndarray], count: int, axis: int = -1) -> Generator[np.ndarray]:
    """Yield the same values in blocks of `count` entries along an axis. The last may be shorter; none is empty."""
    source = Rechunker(blocks, axis)
    while (block := source.take(count)) is not None and block.shape[axis]:
        yield block
