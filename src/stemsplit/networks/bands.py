"""Spectrum ⇄ band tokens: the band split of BSRNN (Luo & Yu 2022, arXiv 2209.15174) as TS-BSMamba2 uses it.

The seam that every codec of this package shares:

    encode(spectrum (B, C, F, T) complex)      → tokens (B, C, K, T, D)
    decode(tokens (B, C, K, T, D))             → masks  (B, S, C, F, T) complex

B batch, C audio channels, F bins, T frames, K bands, D features, S stems. Tokens are rows of D contiguous features:
every layer of the network is a product over rows, so no layer has to permute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.cpu_products import tanh

NORM_EPS = torch.finfo(torch.float32).eps


def group_norm(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GroupNorm(1, D) of rows (…, L, D): one mean and variance per sequence, over steps and features together."""
    normed = F.layer_norm(rows, rows.shape[-2:], eps=NORM_EPS)
    return torch.addcmul(bias, normed, weight)


def band_edges(widths: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the first bin of each band and the bin after its last, from the bands' widths."""
    edges, start = [], 0
    for width in widths:
        edges.append((start, start + width))
        start += width
    return tuple(edges)


class BandSplit(nn.Module):
    """Real and imaginary parts of each band's bins → GroupNorm → linear map to D features.

    Parameters of all bands lie side by side on the bin axis: `weight[:, :, s:e]` belongs to the band [s, e).
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        self.edges = band_edges(widths)
        bins = self.edges[-1][1]
        self.norm_weight = nn.Parameter(torch.ones(2, bins))
        self.norm_bias = nn.Parameter(torch.zeros(2, bins))
        self.weight = nn.Parameter(torch.empty(dim, 2, bins))
        self.bias = nn.Parameter(torch.zeros(len(widths), dim))
        with torch.no_grad():
            for start, end in self.edges:
                bound = (2 * (end - start)) ** -0.5
                self.weight[:, :, start:end].uniform_(-bound, bound)

    def encode(self, spectrum: Tensor) -> Tensor:
        """spectrum (B, C, F, T) complex → tokens (B, C, K, T, D)."""
        parts = torch.view_as_real(spectrum).permute(0, 1, 3, 4, 2)  # (B, C, T, 2, F)
        tokens = [self._encode_band(parts, band, edges) for band, edges in enumerate(self.edges)]
        return torch.stack(tokens, dim=2)

    def _encode_band(self, parts: Tensor, band: int, edges: tuple[int, int]) -> Tensor:
        bins = slice(*edges)
        rows = parts[..., bins].flatten(-2)
        normed = group_norm(rows, self.norm_weight[:, bins].flatten(), self.norm_bias[:, bins].flatten())
        return F.linear(normed, self.weight[:, :, bins].flatten(1), self.bias[band])


class BandHeads(nn.Module):
    """Per band: GroupNorm → linear D → E·D, tanh → grouped linear, tanh → grouped linear, gated.

    The two middle maps have `GROUPS` groups. The last yields a value and a gate for the real and imaginary part of
    every stem and bin: value · sigmoid(gate). Parameters of all bands are stacked, those of the last map lie on the
    bin axis as in `BandSplit`.
    """

    GROUPS = 4

    def __init__(self, widths: Sequence[int], dim: int, stems: int, expand: int) -> None:
        super().__init__()
        self.edges = band_edges(widths)
        self.stems = stems
        bands, bins, hidden = len(widths), self.edges[-1][1], expand * dim
        inner = hidden // self.GROUPS
        self.norm_weight = nn.Parameter(torch.ones(bands, dim))
        self.norm_bias = nn.Parameter(torch.zeros(bands, dim))
        self.weight1 = nn.Parameter(_uniform(bands, hidden, dim))
        self.bias1 = nn.Parameter(torch.zeros(bands, hidden))
        self.weight2 = nn.Parameter(_uniform(bands, self.GROUPS, inner, inner))
        self.bias2 = nn.Parameter(torch.zeros(bands, hidden))
        # 4·S outputs per bin, in the order (value|gate, re|im, stem, bin), fall into GROUPS equal groups.
        self.weight3 = nn.Parameter(_uniform(self.GROUPS, stems, bins, inner))
        self.bias3 = nn.Parameter(torch.zeros(self.GROUPS, stems, bins))

    def decode(self, tokens: Tensor) -> Tensor:
        """tokens (B, C, K, T, D) → complex (B, S, C, F, T)."""
        parts = torch.cat(list(self._decode_bands(tokens)), dim=-1)  # (re|im, B·C·T, S, F)
        parts = parts.float() if parts.dtype in (torch.float16, torch.bfloat16) else parts
        batch, channels, _, frames, _ = tokens.shape
        return torch.complex(parts[0], parts[1]).unflatten(0, (batch, channels, frames)).permute(0, 3, 1, 4, 2)

    def _decode_bands(self, tokens: Tensor) -> Iterator[Tensor]:
        """Yield (re|im, B·C·T, S, width) for each band. The last map's 4 groups are what it is read as: no copies."""
        for band, (start, end) in enumerate(self.edges):
            rows = group_norm(tokens[:, :, band], self.norm_weight[band], self.norm_bias[band])
            rows = tanh(F.linear(rows, self.weight1[band], self.bias1[band]))
            groups = rows.flatten(0, -2).unflatten(-1, (self.GROUPS, -1)).transpose(0, 1)  # (4, B·C·T, ·)
            groups = tanh(grouped_linear(groups, self.weight2[band], self.bias2[band].view(self.GROUPS, -1)))
            weight, bias = self.weight3[:, :, start:end].flatten(1, 2), self.bias3[:, :, start:end].flatten(1)
            value, gate = grouped_linear(groups, weight, bias).unflatten(-1, (self.stems, end - start)).chunk(2)
            yield value * torch.sigmoid(gate)


def grouped_linear(groups: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1×1 convolution in groups: (G, rows, I), weight (G, O, I), bias (G, O) → (G, rows, O)."""
    return torch.baddbmm(bias.unsqueeze(1), groups, weight.transpose(1, 2))


def _uniform(*shape: int) -> Tensor:
    bound = shape[-1] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound)
