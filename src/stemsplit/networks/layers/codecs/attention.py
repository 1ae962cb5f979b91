"""SFC-CA: cross-attention between the bins of a frame and K tokens (arXiv 2602.08671).

    encode    rows (B, T, F, 2M) → tokens (B, T, K, D): K queries look at all bins
    decode    tokens → masks (B, T, F, 2NM): a query per bin looks at all tokens

A learnt bias P on the scores of each head tells how far a bin is from a band. Parameters have the names of the
authors' code.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.layers.codecs.frames import (
    FRAMES_AT_ONCE,
    SFC_EPS,
    SwiGLU,
    TransposedConvolution,
    band_means,
    convolution_and_norm,
    frames_around,
    initial_weights,
    spans,
)
from stemsplit.networks.layers.codecs.musical import Band
from stemsplit.networks.layers.norm import RMSNorm


class AttentionEncoder(nn.Module):
    """Rows (B, T, F, C) → tokens (B, T, K, D), and the features of the bins (B, T, F, D') if they are needed.

    A query is learnt, or (`adaptive`) the weighted mean of the features of its band.

    Args:
        channels: real numbers C of a bin.
        bands: K bands, by which P starts.
        inner: features D' of a bin.
        dim: features D of a token.
        heads: of the attention.
        adaptive: make queries of the features of the bins, which the decoder needs then, too.
    """

    def __init__(self, channels: int, bands: list[Band], inner: int, dim: int, heads: int, *, adaptive: bool) -> None:
        super().__init__()
        self.bands, self.adaptive = bands, adaptive
        self.input_conv = convolution_and_norm(channels, inner)
        if adaptive:
            self.freq_weights = nn.Parameter(initial_weights(bands))
        else:
            self.query = nn.Parameter(torch.randn(len(bands), inner))
        self.block = CrossAttentionBlock(initial_bias(bands), inner, heads)
        self.output_conv = convolution_and_norm(inner, dim)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (tokens, features of the bins or None)."""
        found, kept = [], []
        for first, stop in spans(rows.shape[1], FRAMES_AT_ONCE):
            features = self.input_conv(frames_around(rows, first, stop))
            query = band_means(features, self.freq_weights, self.bands) if self.adaptive else self.query
            found.append(self.block(query, features))
            if self.adaptive:
                kept.append(features)
        tokens = torch.cat(found, dim=1)
        return self.output_conv(frames_around(tokens, 0, tokens.shape[1])), torch.cat(kept, dim=1) if kept else None


class AttentionDecoder(nn.Module):
    """Tokens (B, T, K, D) → masks (B, T, F, C). A bin's query is learnt, or (`adaptive`) made of its features.

    Args:
        channels: real numbers C of a bin's masks.
        bands: as in `AttentionEncoder`, as the following.
        inner: features D' of a bin.
        dim: features D of a token.
        heads: of the attention.
        adaptive: make queries of the features of the bins.
    """

    def __init__(self, channels: int, bands: list[Band], inner: int, dim: int, heads: int, *, adaptive: bool) -> None:
        super().__init__()
        self.input_conv = TransposedConvolution(dim, inner)
        if adaptive:
            self.query_mlp = nn.Sequential(RMSNorm(inner, SFC_EPS), SwiGLU(inner, inner))
        else:
            self.query = nn.Parameter(torch.randn(bands[-1].stop, inner))
        self.block = CrossAttentionBlock(initial_bias(bands).t(), inner, heads)
        self.output_conv = TransposedConvolution(inner, channels)
        self.adaptive = adaptive

    def forward(self, tokens: Tensor, side: Tensor | None) -> Tensor:
        """Return masks of tokens and of the features of the bins, which only adaptive queries need."""
        frames = tokens.shape[1]
        tokens = self.input_conv(frames_around(tokens, 0, frames))
        masks = []
        for first, stop in spans(frames, FRAMES_AT_ONCE):
            near = slice(max(0, first - 1), stop + 1)
            query = self.query_mlp(_of(side)[:, near]) if self.adaptive else self.query
            rows = self.block(query, tokens[:, near])
            masks.append(self.output_conv(frames_around(rows, first - near.start, stop - near.start)))
        return torch.cat(masks, dim=1)


class CrossAttentionBlock(nn.Module):
    """Queries (…, Q, D') look at the tokens (B, T, L, D') of the same frame → (B, T, Q, D'), then SwiGLU.

    Args:
        bias: what P (Q, L) starts as, the same for each head.
        inner: features D'.
        heads: of the attention.
    """

    def __init__(self, bias: Tensor, inner: int, heads: int) -> None:
        super().__init__()
        self.norm_attn_kv = RMSNorm(inner, SFC_EPS)
        self.norm_attn_q = RMSNorm(inner, SFC_EPS)
        self.mixer = CrossAttention(bias, inner, heads)
        self.norm_ffn = RMSNorm(inner, SFC_EPS)
        self.feed_forward = SwiGLU(inner, inner)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Return what the queries found. There is no residual connection around the attention."""
        found = self.mixer(self.norm_attn_q(query), self.norm_attn_kv(tokens))
        return found + self.feed_forward(self.norm_ffn(found)).to(found.dtype)


class CrossAttention(nn.Module):
    """softmax(q kᵀ / √d + P) v in each head, without biases in the linear maps. Arguments as in the block."""

    def __init__(self, bias: Tensor, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(inner, inner, bias=False)
        self.kv_proj = nn.Linear(inner, 2 * inner, bias=False)
        self.aggregate_heads = nn.Sequential(nn.Linear(inner, inner, bias=False))
        self.pos_bias = nn.Parameter(bias.expand(1, heads, -1, -1).clone())

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, T, Q, D') of queries (Q, D') or (B, T, Q, D') and tokens (B, T, L, D')."""
        batch, frames = tokens.shape[:2]
        rows = tokens.flatten(0, 1)
        k, v = self.kv_proj(rows).unflatten(-1, (self.heads, 2, -1)).permute(3, 0, 2, 1, 4)
        q = self.q_proj(query).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
        q = q.expand(len(rows), -1, -1, -1) if query.dim() == 2 else q.flatten(0, 1)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=self.pos_bias.to(q.dtype))
        return self.aggregate_heads(found.transpose(1, 2).flatten(2)).unflatten(0, (batch, frames))


def initial_bias(bands: list[Band]) -> Tensor:
    """Return P (K, F) before training: minus the distance of each bin from each band, in bins.

    Inside the band it falls from 0 in the middle towards −1 at the ends.
    """
    bins = np.arange(bands[-1].stop)
    rows = []
    for band in bands:
        inside = -np.abs(band.middle - bins) / (band.width // 2 + 1)
        outside = np.minimum(bins - band.start, band.stop - 1 - bins)
        rows.append(np.where(outside < 0, outside, inside))
    return torch.from_numpy(np.stack(rows)).float()


def _of(side: Tensor | None) -> Tensor:
    assert side is not None, "adaptive queries need the features that the encoder keeps"
    return side
