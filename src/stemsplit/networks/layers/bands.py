"""Spectrum ⇄ band tokens: the band split of BSRNN (Luo & Yu 2022, arXiv 2209.15174) as TS-BSMamba2 uses it.

    BandSplit.encode    spectrum (B, C, F, T) complex  → tokens (B, G, K, T, D)
    BandHeads.decode    tokens (B, G, K, T, D)         → masks (B, S, C, F, T) complex

B is the batch, C audio channels, G groups of channels that share a token (one group per channel, or one for all), F
bins, T frames, K bands, D features, S stems. The D features of a token are contiguous in memory. Every layer of the
network multiplies such rows by a matrix, so no layer has to permute them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels.products import tanh_
from stemsplit.networks.layers.bindable import Bindable
from stemsplit.networks.layers.norm import NORM_EPS, group_norm


class BandSplit(Bindable):
    """The split of a spectrum into bands, each of which becomes a token.

    For each band: the real and imaginary parts of its bins, in all channels of a group → GroupNorm → linear map to D
    features. The parameters of all bands are in one tensor, side by side on the bin axis: `weight[:, :, s:e]` belongs
    to the band of the bins s … e − 1.

    Args:
        widths: of the bands, in bins.
        dim: features D of a token.
        group: audio channels that share a token.
    """

    def __init__(self, widths: Sequence[int], dim: int, group: int = 1) -> None:
        super().__init__()
        self.widths, self.group = list(widths), group
        bins = sum(widths)
        self.norm_weight = nn.Parameter(torch.ones(2 * group, bins))
        self.norm_bias = nn.Parameter(torch.zeros(2 * group, bins))
        self.weight = nn.Parameter(torch.empty(dim, 2 * group, bins))
        self.bias = nn.Parameter(torch.zeros(len(widths), dim))
        with torch.no_grad():
            for part in self.weight.split(self.widths, dim=-1):
                bound = (2 * group * part.shape[-1]) ** -0.5
                part.uniform_(-bound, bound)

    def encode(self, spectrum: Tensor) -> Tensor:
        """Return the tokens (B, G, K, T, D) of a complex spectrum (B, C, F, T).

        At inference they are computed by the backend, if one is bound.
        """
        return self.encode_plain(spectrum) if (bound := self.backend()) is None else bound(spectrum)

    def encoded(self, spectrum: Tensor) -> tuple[Tensor, None]:
        """Return the tokens, and None: the heads need nothing beside them."""
        return self.encode(spectrum), None

    def encode_plain(self, spectrum: Tensor) -> Tensor:
        """Return the same without a backend."""
        parts = torch.view_as_real(spectrum).unflatten(1, (-1, self.group))  # (B, G, C/G, F, T, 2)
        parts = parts.permute(0, 1, 4, 2, 5, 3).flatten(3, 4)  # (B, G, T, 2·C/G, F)
        # Split instead of sliced: the gradient of each slice would be as large as the whole tensor, while those of a
        # split are put together once.
        bands = (part.split(self.widths, dim=-1) for part in (parts, self.norm_weight, self.norm_bias, self.weight))
        tokens = [
            F.linear(group_norm(rows.flatten(-2), norm_weight.flatten(), norm_bias.flatten()), weight.flatten(1), bias)
            for rows, norm_weight, norm_bias, weight, bias in zip(*bands, self.bias.unbind(), strict=True)
        ]
        return torch.stack(tokens, dim=2)


class BandHeads(Bindable):
    """The heads that turn the token of each band into masks, or into added spectra, of its bins.

    For each band: GroupNorm → linear map D → E·D, tanh → grouped linear map, tanh → grouped linear map, gated. Grouped
    maps have `GROUPS` groups. The last map gives a value and a gate for the real and the imaginary part in every stem,
    channel of the group, and bin. The output is value · sigmoid(gate). The parameters of all bands are stacked; those
    of the last map are side by side on the bin axis, as in `BandSplit`.

    Args:
        widths: of the bands, in bins.
        dim: features D of a token.
        stems: how many.
        expand: E, the factor on D inside.
        group: audio channels that share a token.
    """

    GROUPS = 4

    def __init__(self, widths: Sequence[int], dim: int, stems: int, expand: int, group: int = 1) -> None:
        super().__init__()
        self.widths, self.group = list(widths), group
        bands, bins, hidden = len(widths), sum(widths), expand * dim
        inner = hidden // self.GROUPS
        self.norm_weight = nn.Parameter(torch.ones(bands, dim))
        self.norm_bias = nn.Parameter(torch.zeros(bands, dim))
        self.weight1 = nn.Parameter(_uniform(bands, hidden, dim))
        self.bias1 = nn.Parameter(torch.zeros(bands, hidden))
        self.weight2 = nn.Parameter(_uniform(bands, self.GROUPS, inner, inner))
        self.bias2 = nn.Parameter(torch.zeros(bands, hidden))
        # There are 4·S·C/G outputs per bin, in the order (value|gate, re|im, stem, channel, bin). So each of the four
        # groups holds one of (value|gate, re|im).
        self.weight3 = nn.Parameter(_uniform(self.GROUPS, stems * group, bins, inner))
        self.bias3 = nn.Parameter(torch.zeros(self.GROUPS, stems * group, bins))

    def decode(self, tokens: Tensor, side: None = None) -> Tensor:
        """Return the complex output (B, S, C, F, T) of tokens (B, G, K, T, D)."""
        return self._run(tokens, None, None)

    def masked(self, tokens: Tensor, mixture: Tensor, side: None = None) -> Tensor:
        """Return the stems (B, S, C, F, T) that the output cuts out of a mixture (B, C, F, T).

        The output is taken as masks, which are shifted so that they add up to 1.
        """
        return self._run(tokens, mixture, None)

    def added(self, tokens: Tensor, spectra: Tensor, side: None = None) -> Tensor:
        """Return the output plus spectra (B, S, C, F, T). At inference `spectra` may be overwritten."""
        return self._run(tokens, None, spectra)

    def _run(self, tokens: Tensor, mixture: Tensor | None, onto: Tensor | None) -> Tensor:
        if (bound := self.backend()) is None:
            return self.finished(self.decode_plain(tokens), mixture, onto)
        return bound(tokens, mixture, onto)

    def finished(self, output: Tensor, mixture: Tensor | None, onto: Tensor | None) -> Tensor:
        """Return the output as it is, as masks of a mixture, or added to spectra."""
        return finished(output, mixture, onto)

    def decode_plain(self, tokens: Tensor) -> Tensor:
        """Return the complex output without a backend."""
        parts = torch.cat(list(self._decode_bands(tokens)), dim=-1)  # (re|im, B·G·T, S·C/G, F)
        parts = parts.float() if parts.dtype in (torch.float16, torch.bfloat16) else parts
        batch, groups, _, frames, _ = tokens.shape
        whole = torch.complex(*parts.unbind()).unflatten(0, (batch, groups, frames)).unflatten(3, (-1, self.group))
        return whole.permute(0, 3, 1, 4, 5, 2).flatten(2, 3)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return what the last map maps, for all bands at once: tokens (B, G, K, T, D) → (K, GROUPS, B·G·T, ·)."""
        normed = F.layer_norm(tokens, tokens.shape[-2:], eps=NORM_EPS)
        normed = torch.addcmul(self.norm_bias.unsqueeze(1), normed, self.norm_weight.unsqueeze(1))
        rows = normed.permute(2, 0, 1, 3, 4).flatten(1, 3)  # (K, B·G·T, D)
        rows = torch.tanh(grouped_linear(rows, self.weight1, self.bias1)).unflatten(-1, (self.GROUPS, -1))
        groups = rows.transpose(1, 2).flatten(0, 1)  # (K·GROUPS, B·G·T, ·)
        weight, bias = self.weight2.flatten(0, 1), self.bias2.view(len(groups), -1)
        return torch.tanh(grouped_linear(groups, weight, bias)).unflatten(0, (-1, self.GROUPS))

    def _decode_bands(self, tokens: Tensor) -> Iterator[Tensor]:
        """Yield the output of each band, (re|im, B·G·T, S·C/G, width).

        The groups of the last map are (value|gate, re|im), so its output need not be rearranged.
        """
        of_bands = (self.norm_weight, self.norm_bias, self.weight1, self.bias1, self.weight2, self.bias2)
        of_bins = (
            part.split(self.widths, dim=-2 if part is self.weight3 else -1) for part in (self.weight3, self.bias3)
        )
        for rows, norm_weight, norm_bias, weight1, bias1, weight2, bias2, weight3, bias3 in zip(
            tokens.unbind(2), *(part.unbind() for part in of_bands), *of_bins, strict=True
        ):
            rows = tanh_(F.linear(group_norm(rows, norm_weight, norm_bias), weight1, bias1))
            groups = rows.flatten(0, -2).unflatten(-1, (self.GROUPS, -1)).transpose(0, 1)  # (4, B·G·T, ·)
            groups = tanh_(grouped_linear(groups, weight2, bias2.view(self.GROUPS, -1)))
            last = grouped_linear(groups, weight3.flatten(1, 2), bias3.flatten(1))
            value, gate = last.unflatten(-1, (weight3.shape[1], -1)).chunk(2)
            yield value * torch.sigmoid(gate)


def finished(output: Tensor, mixture: Tensor | None, onto: Tensor | None) -> Tensor:
    """Return an output (B, S, C, F, T) as it is, as masks of a mixture (B, C, F, T), or added to spectra like it."""
    output = output if mixture is None else sum_to_one(output) * mixture.unsqueeze(1)
    return output if onto is None else onto + output


def sum_to_one(masks: Tensor) -> Tensor:
    """Shift complex masks (B, S, …) so that they add up to 1 in every bin, and the masked stems to the mixture."""
    excess = masks.sum(1, keepdim=True) - 1
    return masks - excess / masks.shape[1]


def grouped_linear(groups: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a linear map in each group: (G, rows, I), weight (G, O, I), bias (G, O) → (G, rows, O)."""
    return torch.baddbmm(bias.unsqueeze(1), groups, weight.transpose(1, 2))


def _uniform(*shape: int) -> Tensor:
    bound = shape[-1] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound)
