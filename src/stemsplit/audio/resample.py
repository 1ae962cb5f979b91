"""Sample rate conversion and exact lengths, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import soxr

_QUALITY = "VHQ"  # 28 bits of precision: below the noise of 24-bit files


def resampled_length(frames: int, rate_in: int, rate_out: int) -> int:
    """Samples that `resample` makes of ``frames``: frames · rate_out / rate_in, rounded half up."""
    return int(Fraction(frames * rate_out, rate_in) + Fraction(1, 2))


def resample(blocks: Iterable[np.ndarray], rate_in: int, rate_out: int, channels: int) -> Iterator[np.ndarray]:
    """Convert float32 blocks (channels, n) from one rate (Hz) to another; time zero stays time zero.

    The total length is `resampled_length`. Equal rates pass through untouched.
    """
    if rate_in == rate_out:
        yield from blocks
        return
    yield from _convert(blocks, rate_in, rate_out, channels)


def _convert(blocks: Iterable[np.ndarray], rate_in: int, rate_out: int, channels: int) -> Iterator[np.ndarray]:
    stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality=_QUALITY)
    taken = made = 0
    for block in blocks:
        taken += block.shape[1]
        out = stream.resample_chunk(np.ascontiguousarray(block.T))
        made += len(out)
        if len(out):
            yield np.ascontiguousarray(out.T)
    rest = stream.resample_chunk(np.zeros((0, channels), dtype=np.float32), last=True)
    wanted = resampled_length(taken, rate_in, rate_out) - made
    if wanted > 0:
        yield _fit(np.ascontiguousarray(rest.T), wanted)


def exact_length(blocks: Iterable[np.ndarray], frames: int, *, slack: int = 8) -> Iterator[np.ndarray]:
    """Cut or pad blocks (channels, n) to ``frames`` samples: what a conversion there and back may be off by.

    Raises:
        ValueError: the blocks are off by more than ``slack`` samples; that is an error in the program.
    """
    total = 0
    channels = 1
    for block in blocks:
        channels = block.shape[0]
        kept = block[:, : max(0, frames - total)]
        total += block.shape[1]
        if kept.shape[1]:
            yield kept
    if abs(total - frames) > slack:
        raise ValueError(f"{total} samples came where {frames} ± {slack} were expected")
    if total < frames:
        yield np.zeros((channels, frames - total), dtype=np.float32)


def _fit(block: np.ndarray, frames: int) -> np.ndarray:
    if block.shape[1] >= frames:
        return block[:, :frames]
    return np.pad(block, ((0, 0), (0, frames - block.shape[1])))
