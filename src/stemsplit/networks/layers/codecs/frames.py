"""What the codecs of SFC share: rows of features (B, T, F, C), maps of them, and a few frames at a time.

All layers between the convolutions work frame by frame. So at inference only a few frames are computed at once, which
saves most of the memory, and keeps the tensors in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.layers.codecs.musical import Band
from stemsplit.networks.layers.norm import RMSNorm

SFC_EPS = 1e-6
"""The epsilon of the norms in SFC."""
FRAMES_AT_ONCE = 32
"""Frames that are computed at once at inference."""
SMALLEST_SUM = 1e-8
"""The least that the weights of a band are divided by."""
AROUND = 1
"""Frames and bins on either side that a convolution reads."""


def spans(frames: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of frames that are computed together: all of them where gradients are needed."""
    step = frames if torch.is_grad_enabled() else at_once
    yield from pairwise([*range(0, frames, step), frames])


def frames_around(rows: Tensor, first: int, stop: int) -> Tensor:
    """Return the frames first … stop − 1 of rows (B, T, …, C) with their neighbours; zeros where there are none."""
    found = rows[:, max(0, first - AROUND) : stop + AROUND]
    before, after = max(0, AROUND - first), max(0, stop + AROUND - rows.shape[1])
    if not before and not after:
        return found
    return F.pad(found, (*(0,) * (2 * (found.dim() - 2)), before, after))


class Convolution(nn.Conv2d):
    """A 3×3 convolution of rows: (B, n + 2, F, C) → (B, n, F, C'). It reads a frame more on either side."""

    def __init__(self, into: int, out_of: int) -> None:
        super().__init__(into, out_of, 2 * AROUND + 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Return convolved rows."""
        return _convolve(rows, self.weight, self.bias)


class TransposedConvolution(nn.ConvTranspose2d):
    """The same for a transposed convolution, which is one with mirrored taps."""

    def __init__(self, into: int, out_of: int) -> None:
        super().__init__(into, out_of, 2 * AROUND + 1)

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        """Return convolved rows."""
        return _convolve(rows, self.weight.transpose(0, 1).flip(2, 3), self.bias)


def _convolve(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # Rows are a picture whose channels come last in memory, for which the CPU's convolution is fastest.
    return F.conv2d(rows.permute(0, 3, 1, 2), weight, bias, padding=(0, AROUND)).permute(0, 2, 3, 1)


class SwiGLU(nn.Module):
    """a · SiLU(b) between two linear maps: `width` → 4·D' → D'."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, 4 * inner)
        self.linear2 = nn.Linear(2 * inner, inner)

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows (…, D')."""
        value, gate = self.linear1(rows).chunk(2, dim=-1)
        return self.linear2(value * F.silu(gate))


def convolution_and_norm(into: int, out_of: int) -> nn.Sequential:
    """Return a convolution with a norm of its output. What is between them in the authors' code has no parameters."""
    return nn.Sequential(Convolution(into, out_of), nn.Identity(), RMSNorm(out_of, SFC_EPS))


def initial_weights(bands: list[Band]) -> Tensor:
    """Return the weights of `band_means` before training, band after band: those of plain means."""
    return torch.cat([torch.full((band.width,), 1 / band.width) for band in bands])


def band_means(features: Tensor, weights: Tensor, bands: list[Band]) -> Tensor:
    """Return the weighted mean of each band, (B, T, K, D'), of features (B, T, F, D')."""
    means = []
    for band, own in zip(bands, weights.split([band.width for band in bands]), strict=True):
        share = own / own.sum().clamp_min(SMALLEST_SUM)
        means.append(share.to(features.dtype) @ features[:, :, band.start : band.stop])
    return torch.stack(means, dim=2)
