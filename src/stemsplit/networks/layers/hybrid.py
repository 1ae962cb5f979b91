"""The convolutions of Hybrid Transformer Demucs, over frequencies or over samples.

Tokens are (B, C, F, T) in the spectral branch, where kernels run over frequencies, and (B, C, T) in the branch of the
waveform. One class serves both: a kernel over frequencies is a 2-d kernel of width 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL, STRIDE = 8, 4
PADDING = KERNEL // 4


class Scale(nn.Module):
    """A factor per channel (C, T), or per feature (T, C) if `last`."""

    def __init__(self, channels: int, last: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 1e-4))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """Scale (B, C, T) or (B, T, C)."""
        return x * (self.scale if self.last else self.scale[:, None])


class DilatedResidual(nn.Module):
    """Two residual branches of dilated convolutions over time ("DConv", Défossez 2021, arXiv 2111.03600)."""

    def __init__(self, channels: int, depth: int, compression: int) -> None:
        super().__init__()
        hidden = int(channels / compression)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(channels, hidden, 3, dilation=2**index, padding=2**index),
                nn.GroupNorm(1, hidden),
                nn.GELU(),
                nn.Conv1d(hidden, 2 * channels, 1),
                nn.GroupNorm(1, 2 * channels),
                nn.GLU(1),
                Scale(channels),
            )
            for index in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the branches to (B, C, T)."""
        for layer in self.layers:
            x = x + layer(x)
        return x


def _over_time(residual: DilatedResidual, x: Tensor) -> Tensor:
    """Apply a residual to (B, C, T), or to every frequency of (B, C, F, T) alone."""
    if x.dim() == 3:
        return residual(x)
    batch, channels, bins, frames = x.shape
    rows = residual(x.permute(0, 2, 1, 3).reshape(-1, channels, frames))
    return rows.view(batch, bins, channels, frames).permute(0, 2, 1, 3)


class Encoder(nn.Module):
    """A strided convolution, the residual, and a gated 1 × 1 convolution."""

    def __init__(
        self, channels_in: int, channels: int, *, spectral: bool, residual: Callable[[int], DilatedResidual] | None
    ) -> None:
        super().__init__()
        self.conv = _strided(channels_in, channels, spectral)
        self.dconv = residual(channels) if residual is not None else None
        self.rewrite = (nn.Conv2d if spectral else nn.Conv1d)(channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, T) → (B, C', F / 4, T), or (B, C, T) → (B, C', ⌈T / 4⌉)."""
        if x.dim() == 3 and (missing := -x.shape[-1] % STRIDE):
            x = F.pad(x, (0, missing))
        y = F.gelu(self.conv(x))
        if self.dconv is not None:
            y = _over_time(self.dconv, y)
        return F.glu(self.rewrite(y), 1)


class Decoder(nn.Module):
    """The way back: a gated convolution over what the encoder left too, the residual, and a strided transpose."""

    def __init__(
        self,
        channels: int,
        channels_out: int,
        *,
        spectral: bool,
        last: bool,
        residual: Callable[[int], DilatedResidual] | None,
    ) -> None:
        super().__init__()
        self.last = last
        self.rewrite = (nn.Conv2d if spectral else nn.Conv1d)(channels, 2 * channels, 3, padding=1)
        self.dconv = residual(channels) if residual is not None else None
        self.conv_tr = _strided(channels, channels_out, spectral, transposed=True)

    def forward(self, x: Tensor, skip: Tensor, length: int) -> Tensor:
        """(B, C, F, T) → (B, C', 4 F, T), or (B, C, T) → (B, C', length)."""
        y = F.glu(self.rewrite(x + skip), 1)
        if self.dconv is not None:
            y = _over_time(self.dconv, y)
        z = self.conv_tr(y)
        z = z[..., PADDING : PADDING + length] if z.dim() == 3 else z[:, :, PADDING:-PADDING]
        return z if self.last else F.gelu(z)


def _strided(channels_in: int, channels: int, spectral: bool, transposed: bool = False) -> nn.Module:
    """Return a convolution by a quarter, or one back, whose ends are cut off by the caller."""
    padding = 0 if transposed else PADDING
    if spectral:
        kind: type[nn.Module] = nn.ConvTranspose2d if transposed else nn.Conv2d
        return kind(channels_in, channels, (KERNEL, 1), (STRIDE, 1), (padding, 0))
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    return kind(channels_in, channels, KERNEL, STRIDE, padding)
