"""Sample rate conversion, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import soxr

_QUALITY = "VHQ"  # 28 bits of precision: below the noise of 24-bit files
_PIECE_VALUES = 1 << 22  # of all channels, on the side of the higher rate: 16 MiB


def resampled_length(frames: int, rate_in: int, rate_out: int) -> int:
    """Return how many samples `resample` makes of `frames`: frames · rate_out / rate_in, rounded half up."""
    return int(Fraction(frames * rate_out, rate_in) + Fraction(1, 2))


def resample(blocks: Iterable[np.ndarray], rate_in: int, rate_out: int, channels: int) -> Iterator[np.ndarray]:
    """Convert float32 blocks (channels, n) from one sample rate in Hz to another, without a delay.

    The blocks together have the length that `resampled_length` returns. If the rates are equal, they are not changed.
    """
    if rate_in == rate_out:
        yield from blocks
        return
    resampler = Resampler(rate_in, rate_out, channels)
    for block in blocks:
        yield from resampler.pieces(block)
    if (rest := resampler.finish()).shape[1]:
        yield rest


class Resampler:
    """The same conversion as `resample`, for blocks that are given one by one."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self._rates, self._channels = (rate_in, rate_out), channels
        self._taken = self._made = 0
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality=_QUALITY)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Convert a block (channels, n) and return the samples that are ready, (channels, m) with m ≥ 0."""
        if self._stream is None:
            return block
        self._taken += block.shape[1]
        out = self._stream.resample_chunk(np.ascontiguousarray(block.T))
        self._made += len(out)
        return np.ascontiguousarray(out.T)

    def pieces(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """Convert a block as `push` does, and yield what is ready in pieces of bounded size, none of them empty."""
        taken, made = self._rates
        count = max(1, _PIECE_VALUES * taken // (max(taken, made) * self._channels))
        if self._stream is None:
            count = block.shape[1]
        for start in range(0, block.shape[1], max(1, count)):
            if (out := self.push(block[:, start : start + count])).shape[1]:
                yield out

    def finish(self) -> np.ndarray:
        """Return the rest, (channels, m) with m ≥ 0. `push` must not be called afterwards."""
        nothing = np.zeros((0, self._channels), dtype=np.float32)
        if self._stream is None:
            return np.asarray(nothing.T)
        rest = self._stream.resample_chunk(nothing, last=True)
        wanted = resampled_length(self._taken, *self._rates) - self._made
        return _fit(np.ascontiguousarray(rest.T), max(0, wanted))


def _fit(block: np.ndarray, frames: int) -> np.ndarray:
    if block.shape[1] >= frames:
        return block[:, :frames]
    return np.pad(block, ((0, 0), (0, frames - block.shape[1])))
