"""SFC-Mamba: K tokens are put among the bins of a frame, and Mamba runs over them both ways (arXiv 2602.08671).

    encode    rows (B, T, F, 2M) → tokens (B, T, K, D): what Mamba returns at the places of K queries
    decode    tokens → masks (B, T, F, 2NM): what it returns at the places of the bins

A token stands in the middle of its band. Parameters have the names of the authors' code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stemsplit.networks.layers.codecs.frames import (
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
from stemsplit.networks.layers.mamba1 import Mamba1
from stemsplit.networks.layers.norm import RMSNorm

D_CONV = 4
FRAMES_AT_ONCE = 64
"""Frames that are computed at once at inference: the scan takes as many steps for one frame as for all."""


class MambaEncoder(nn.Module):
    """Rows (B, T, F, C) → tokens (B, T, K, D), and the outputs at the bins (B, T, F, 2·D') if they are needed.

    A query is learnt, or (`adaptive`) the weighted mean of the features of its band.

    Args:
        channels: real numbers C of a bin.
        bands: K bands.
        inner: features D' of a bin.
        dim: features D of a token.
        d_state: of Mamba.
        expand: of Mamba.
        adaptive: make queries of the features of the bins.
    """

    def __init__(
        self, channels: int, bands: list[Band], inner: int, dim: int, *, d_state: int, expand: int, adaptive: bool
    ) -> None:
        super().__init__()
        self.bands, self.adaptive = bands, adaptive
        self.input_conv = convolution_and_norm(channels, inner)
        if adaptive:
            self.freq_weights = nn.Parameter(initial_weights(bands))
        else:
            self.query = nn.Parameter(torch.randn(len(bands), inner))
        self.forward_block = NormedMamba(inner, d_state, expand)
        self.backward_block = NormedMamba(inner, d_state, expand)
        self.output_conv = convolution_and_norm(2 * inner, dim)
        self.order = Interleaving(bands)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (tokens, outputs at the bins or None)."""
        found, kept = [], []
        for first, stop in spans(rows.shape[1], FRAMES_AT_ONCE):
            features = self.input_conv(frames_around(rows, first, stop))
            if self.adaptive:
                query = band_means(features, self.freq_weights, self.bands)
            else:
                query = _for_frames(self.query, features)
            tokens, bins = self.order.apart(both_ways(self, self.order.together(query, features)))
            found.append(tokens)
            if self.adaptive:
                kept.append(bins)
        tokens = torch.cat(found, dim=1)
        return self.output_conv(frames_around(tokens, 0, tokens.shape[1])), torch.cat(kept, dim=1) if kept else None


class MambaDecoder(nn.Module):
    """Tokens (B, T, K, D) → masks (B, T, F, C). A bin's query is learnt, or (`adaptive`) made of the encoder's output.

    Args:
        channels: real numbers C of a bin's masks.
        bands: as in `MambaEncoder`, as the following.
        inner: features D' of a bin.
        dim: features D of a token.
        d_state: of Mamba.
        expand: of Mamba.
        adaptive: make queries of what the encoder returns at the bins.
    """

    def __init__(
        self, channels: int, bands: list[Band], inner: int, dim: int, *, d_state: int, expand: int, adaptive: bool
    ) -> None:
        super().__init__()
        self.adaptive = adaptive
        self.input_conv = TransposedConvolution(dim, inner)
        if adaptive:
            self.query_mlp = nn.Sequential(RMSNorm(2 * inner, SFC_EPS), SwiGLU(2 * inner, inner))
        else:
            self.query = nn.Parameter(torch.randn(bands[-1].stop, inner))
        self.forward_block = NormedMamba(inner, d_state, expand)
        self.backward_block = NormedMamba(inner, d_state, expand)
        self.output_conv = TransposedConvolution(2 * inner, channels)
        self.order = Interleaving(bands)

    def forward(self, tokens: Tensor, side: Tensor | None) -> Tensor:
        """Return masks of tokens and of the encoder's outputs at the bins, which only adaptive queries need."""
        frames = tokens.shape[1]
        tokens = self.input_conv(frames_around(tokens, 0, frames))
        masks = []
        for first, stop in spans(frames, FRAMES_AT_ONCE):
            near = slice(max(0, first - 1), stop + 1)
            query = self._queries(tokens[:, near], side if side is None else side[:, near])
            _, bins = self.order.apart(both_ways(self, self.order.together(tokens[:, near], query)))
            masks.append(self.output_conv(frames_around(bins, first - near.start, stop - near.start)))
        return torch.cat(masks, dim=1)

    def _queries(self, tokens: Tensor, side: Tensor | None) -> Tensor:
        """Return the queries (B, T, F, D') of bins."""
        if not self.adaptive:
            return _for_frames(self.query, tokens)
        assert side is not None, "adaptive queries need the outputs that the encoder keeps"
        return self.query_mlp(side)


class NormedMamba(nn.Module):
    """One direction: Mamba over normalised rows, without a residual connection."""

    def __init__(self, inner: int, d_state: int, expand: int) -> None:
        super().__init__()
        self.norm = RMSNorm(inner, SFC_EPS)
        self.mixer = Mamba1(inner, d_state, D_CONV, expand)

    def forward(self, rows: Tensor, *, reverse: bool) -> Tensor:
        """Return rows (N, L, D')."""
        return self.mixer(self.norm(rows), reverse=reverse)


def both_ways(codec: MambaEncoder | MambaDecoder, rows: Tensor) -> Tensor:
    """Run Mamba both ways over the sequence of each frame: (B, T, L, D') → (B, T, L, 2·D')."""
    flat = rows.flatten(0, 1)
    ahead = codec.forward_block(flat, reverse=False)
    back = codec.backward_block(flat, reverse=True)
    return torch.cat([ahead, back], dim=-1).unflatten(0, rows.shape[:2])


class Interleaving:
    """The order of K tokens and F bins in one sequence: every token in the middle of its band."""

    def __init__(self, bands: list[Band]) -> None:
        self.places = [band.middle + k for k, band in enumerate(bands)]
        tokens, bins = iter(range(len(bands))), iter(range(len(bands), len(bands) + bands[-1].stop))
        taken = {*self.places}
        self.order = [next(tokens if place in taken else bins) for place in range(len(bands) + bands[-1].stop)]
        self.bins = [place for place in range(len(self.order)) if place not in taken]

    def together(self, tokens: Tensor, bins: Tensor) -> Tensor:
        """Return the sequence (B, T, K + F, D') of tokens (B, T, K, D') and bins (B, T, F, D')."""
        return torch.cat([tokens, bins.to(tokens.dtype)], dim=2)[:, :, self.order]

    def apart(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Return what stands at the places of the tokens and at those of the bins."""
        return sequence[:, :, self.places], sequence[:, :, self.bins]


def _for_frames(query: Tensor, like: Tensor) -> Tensor:
    """Return learnt queries (Q, D') for each frame of `like` (B, T, …)."""
    return query.expand(*like.shape[:2], -1, -1)
