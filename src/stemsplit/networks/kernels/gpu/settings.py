"""The sizes of the pieces that the kernels work on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

SMALLEST_BLOCK = 16
"""The shortest side that a matrix may have in a product in Triton."""


@dataclass(frozen=True)
class Settings:
    """The sizes of the pieces that the kernels work on. Apart from rounding, results do not depend on them."""

    short_steps: int = 64  # the longest sequence for `short_kernel`
    chunk_steps: int = 64  # the most steps of a chunk in `scan_kernel`, see `chunk_of`
    out_rows: int = 64  # rows of a block in `out_kernel`
    out_columns: int = 64  # columns of a block in `out_kernel`
    layer_rows: int = 32  # frames of a block in the kernels around the blocks
    layer_bins: int = 64  # the most bins of a block there
    short_warps: int = 8  # warps of the programs of each kernel
    share_warps: int = 8
    scan_warps: int = 8  # with 4, the state of the full network does not fit into the registers
    out_warps: int = 8
    layer_warps: int = 8
    stages: int = 1  # with more, data are loaded further ahead, which needs more shared memory

    def chunk_of(self, length: int) -> int:
        """Return the steps of a chunk for a sequence: half of the most, if that leaves a tenth fewer steps empty.

        Chunks of 64 would leave half of 128 steps empty in a sequence of 65, and a fifth of 320 in one of 259.
        """
        half = self.chunk_steps // 2
        if half < SMALLEST_BLOCK:
            return self.chunk_steps
        return half if 10 * _padded(length, half) <= 9 * _padded(length, self.chunk_steps) else self.chunk_steps


FLOAT32 = Settings(short_steps=32, chunk_steps=32, out_rows=32, out_columns=32, layer_rows=16, layer_bins=32)
"""For float32, which has twice as many bytes per number, and whose products are sums of three."""

SMALLER = Settings(
    short_steps=16, chunk_steps=16, out_rows=16, out_columns=32, layer_rows=16, layer_bins=16, scan_warps=4, out_warps=4
)
"""For networks whose states or heads are too large for the GPU's shared memory otherwise."""


def settings_for(kind: torch.dtype) -> Settings:
    """Return the settings for arrays of a type."""
    return FLOAT32 if kind == torch.float32 else Settings()


def block_of(size: int) -> int:
    """Return the smallest power of two that is at least `size`, and at least `SMALLEST_BLOCK`."""
    return max(SMALLEST_BLOCK, 1 << (size - 1).bit_length())


def _padded(length: int, chunk: int) -> int:
    return -(-length // chunk) * chunk
