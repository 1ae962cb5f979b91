"""A transformer over two sequences at once (Rouard, Massa and Défossez 2022, arXiv 2211.08553).

Layers of attention within each sequence take turns with layers in which each sequence attends to the other one. A
feature is the last axis: (B, T, D). Positions are told by sines, over time, and over time and frequency.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.layers.hybrid import Scale

SLOWEST = 10000.0
"""The longest period of the sines, over 2π."""


class GroupNormOfRows(nn.GroupNorm):
    """GroupNorm of (B, T, D) with one group: over frames and features together."""

    def __init__(self, dim: int) -> None:
        super().__init__(1, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, T, D)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Layer(nn.Module):
    """Attention and two linear maps, each behind a norm and scaled before it is added.

    Args:
        cross: attend to another sequence instead of one's own.
    """

    def __init__(self, dim: int, heads: int, hidden: int, cross: bool) -> None:
        super().__init__()
        self.cross = cross
        if cross:
            self.cross_attn = nn.MultiheadAttention(dim, heads)
        else:
            self.self_attn = nn.MultiheadAttention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        if cross:
            self.norm3 = nn.LayerNorm(dim)
        self.norm_out = GroupNormOfRows(dim)
        self.gamma_1, self.gamma_2 = Scale(dim, last=True), Scale(dim, last=True)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(B, T, D) and the other sequence (B, T', D), which only a cross layer hears → (B, T, D)."""
        if self.cross:
            attended = attend(self.cross_attn, self.norm1(x), self.norm2(other))
            behind = self.norm3
        else:
            own = self.norm1(x)
            attended = attend(self.self_attn, own, own)
            behind = self.norm2
        x = x + self.gamma_1(attended)
        x = x + self.gamma_2(self.linear2(F.gelu(self.linear1(behind(x)))))
        out: Tensor = self.norm_out(x)
        return out


def attend(weights: nn.MultiheadAttention, queries: Tensor, keys: Tensor) -> Tensor:
    """Attend from (B, T, D) to (B, T', D) by PyTorch's fastest exact kernel."""
    heads = weights.num_heads
    q_map, k_map, v_map = weights.in_proj_weight.chunk(3)
    q_bias, k_bias, v_bias = weights.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, matrix, bias).unflatten(-1, (heads, -1)).transpose(1, 2)
        for x, matrix, bias in ((queries, q_map, q_bias), (keys, k_map, k_bias), (keys, v_map, v_bias))
    )
    joined = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    out: Tensor = weights.out_proj(joined)
    return out


class CrossTransformer(nn.Module):
    """The transformer between the encoders and the decoders of both branches."""

    def __init__(self, dim: int, heads: int, layers: int, hidden_scale: float) -> None:
        super().__init__()
        hidden = int(dim * hidden_scale)
        self.norm_in, self.norm_in_t = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.layers, self.layers_t = (
            nn.ModuleList(Layer(dim, heads, hidden, cross=index % 2 == 1) for index in range(layers)) for _ in range(2)
        )

    def forward(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Spectral tokens (B, D, F, T) and those of the waveform (B, D, S), both changed."""
        bins, frames = x.shape[-2:]
        x = x.transpose(-1, -2).flatten(2).transpose(1, 2)  # frame by frame
        x = self.norm_in(x) + positions_2d(bins, frames, x)
        xt = self.norm_in_t(xt.transpose(1, 2))
        xt = xt + positions(xt.shape[1], xt)
        for layer, layer_t in zip(self.layers, self.layers_t, strict=True):
            x, xt = layer(x, xt), layer_t(xt, x)
        return x.transpose(1, 2).unflatten(2, (frames, bins)).transpose(-1, -2), xt.transpose(1, 2)


def positions(length: int, like: Tensor) -> Tensor:
    """Return (length, D): cosines and sines of the position."""
    half = like.shape[-1] // 2
    exponents = torch.arange(half, device=like.device, dtype=like.dtype) / (half - 1)
    phase = torch.arange(length, device=like.device, dtype=like.dtype)[:, None] / SLOWEST**exponents
    return torch.cat([phase.cos(), phase.sin()], -1)


def positions_2d(bins: int, frames: int, like: Tensor) -> Tensor:
    """Return (frames · bins, D): half of the features tell the frame, half the bin; sines and cosines in turns."""
    half = like.shape[-1] // 2
    rates = torch.exp(torch.arange(0, half, 2, device=like.device, dtype=like.dtype) * -(math.log(SLOWEST) / half))

    def turns(count: int) -> Tensor:
        phase = torch.arange(count, device=like.device, dtype=like.dtype)[:, None] * rates
        return torch.stack([phase.sin(), phase.cos()], -1).flatten(1)

    of_frames, of_bins = turns(frames), turns(bins)
    both = torch.cat([of_frames[:, None].expand(-1, bins, -1), of_bins[None].expand(frames, -1, -1)], -1)
    return both.flatten(0, 1)
