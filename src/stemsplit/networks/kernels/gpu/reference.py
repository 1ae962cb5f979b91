"""The functions of `launches.py` in PyTorch: readable, in any precision, and on every device.

Tests compare the kernels with these, and these with the layers' own methods. On GPUs without Triton they compute the
layers around the blocks, because they take bands of the same width together: 57 bands are 7 batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.kernels.convolution import depthwise_convolution
from stemsplit.networks.kernels.gpu.settings import Settings
from stemsplit.networks.kernels.gpu.weights import BlockWeights, ExchangeWeights, HeadsWeights, SplitWeights
from stemsplit.networks.kernels.ssd import ssd_chunked

DOUBLE = True
"""Whether float64 is computed in float64."""


def normed(grid: Tensor, kind: torch.dtype, first: int, count: int, eps: float, settings: Settings) -> Tensor:
    """Return so many sequences from `first` on with mean 0 and variance 1, (count, L, D) of type `kind`."""
    rows = _sequences(grid)[first : first + count]
    return F.layer_norm(rows, rows.shape[-2:], eps=eps).to(kind)


def short(
    grid: Tensor, out: Tensor, first: int, projected: Tensor, weights: BlockWeights, eps: float, settings: Settings
) -> None:
    """Write the updated sequences of a grid, from `first` on, to `out`. Their in-projection is (N, L, W)."""
    shared = share(projected, weights, settings)
    outward(grid, out, first, projected, scan(projected, shared, weights, settings), weights, eps, settings)


def share(projected: Tensor, weights: BlockWeights, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Return B and C after convolution and SiLU, (2, N, L, S), and C Bᵀ (2, N, L, L), which `scan` does not need."""
    inner, state = weights.sizes["INNER"], weights.state
    pairs = [_mixed(projected, weights, back)[..., inner:].split(state, dim=-1) for back in range(2)]
    b, c = (torch.stack(both) for both in zip(*pairs, strict=True))
    return b, c, c @ b.transpose(-1, -2)


def scan(
    projected: Tensor, shared: tuple[Tensor, Tensor, Tensor], weights: BlockWeights, settings: Settings
) -> tuple[Tensor, Tensor]:
    """Return y · silu(z) (N, L, 2, inner), and the sums of its squares per head (N, L, 2, H)."""
    sizes, (b, c, _) = weights.sizes, shared
    inner, heads, side = sizes["INNER"], sizes["HEADS"], 2 * (sizes["INNER"] + weights.state)
    gates = []
    for back in range(2):
        x = _mixed(projected, weights, back)[..., :inner].unflatten(-1, (heads, -1))
        dt = projected[..., 2 * side + sizes["D"] + back * heads :][..., :heads]
        dt = F.softplus(_wide(dt) + weights.dt_bias[back])
        y = ssd_chunked(x * dt.unsqueeze(-1), dt * weights.rate[back], b[back], c[back], reverse=bool(back))
        y = y + weights.skip[back].unsqueeze(-1) * x
        gates.append(y * F.silu(_wide(projected[..., back * side :][..., :inner])).unflatten(-1, (heads, -1)))
    gated = torch.stack(gates, dim=2)  # (N, L, 2, H, P)
    return gated.flatten(-2).to(projected.dtype), gated.square().sum(-1)


def outward(
    grid: Tensor, out: Tensor, first: int, projected: Tensor, scanned: tuple[Tensor, Tensor],
    weights: BlockWeights, eps: float, settings: Settings,
) -> None:  # fmt: skip
    """Write the updated sequences of a grid, from `first` on, to `out`."""
    (gated, squares), sizes = scanned, weights.sizes
    start, count = 4 * (sizes["INNER"] + weights.state), len(projected)
    scale = torch.rsqrt(squares.sum(-1, keepdim=True) / sizes["INNER"] + eps)  # (N, L, 2, 1)
    updates = torch.einsum("nldi,dif->nldf", _wide(gated), _wide(weights.outward)) * scale
    total = _wide(projected[..., start : start + sizes["D"]]) + updates.sum(2)
    inner = grid.shape[1]
    places = torch.arange(first, first + count, device=grid.device)
    out[places // inner, places % inner] = (_sequences(grid)[first : first + count] + total).to(out.dtype)


def split(spectrum: Tensor, weights: SplitWeights, eps: float, settings: Settings) -> Tensor:
    """Return the tokens (B, G, K, T, D), in float32 or float64, of a complex spectrum (B, C, F, T)."""
    parts = torch.view_as_real(spectrum).unflatten(1, (-1, weights.group))  # (B, G, C/G, F, T, 2)
    parts = parts.permute(0, 1, 4, 2, 5, 3).flatten(3, 4)  # (B, G, T, 2·C/G, F)
    kind, found = weights.weight.dtype, []
    for band, bin_, count, width in runs(weights.widths):
        bins = slice(bin_, bin_ + count * width)
        rows = parts[..., bins].unflatten(-1, (count, width)).permute(4, 0, 1, 2, 3, 5).flatten(-2)  # (n, B, G, T, ·)
        rows = F.layer_norm(rows, rows.shape[-2:], eps=eps).to(kind)
        matrix = weights.weight[..., bins].unflatten(-1, (count, width)).permute(2, 1, 3, 0).flatten(1, 2)
        product = torch.bmm(rows.flatten(1, 3), matrix).to(parts.dtype).unflatten(1, rows.shape[1:4])
        found.append(product + weights.bias[band : band + count, None, None, None])
    return torch.cat(found).permute(1, 2, 0, 3, 4).contiguous()


def heads(
    normed: Tensor, weights: HeadsWeights, mixture: Tensor | None, onto: Tensor | None, settings: Settings
) -> Tensor:
    """Return the output of heads, complex (B, S, C, F, T), for normed tokens (B, G, K, T, D).

    It is the output as it is, or that of masks of a mixture (B, C, F, T), and it is added to `onto` if there is any.
    """
    batch, groups, bands, frames, _ = normed.shape
    kind = normed.dtype
    rows = normed.permute(2, 0, 1, 3, 4).flatten(1, 3).repeat_interleave(4, dim=0)  # (4·K, B·G·T, D)
    rows = torch.tanh(_products(rows, weights.weight1, weights.bias1))
    rows = torch.tanh(_products(rows.to(kind), weights.weight2, weights.bias2)).to(kind)
    rows = rows.unflatten(0, (bands, 4))
    parts = torch.cat(list(_last_maps(rows, weights)), dim=-1)  # (re|im, B·G·T, S·C/G, F)
    found = torch.complex(*parts.unbind()).unflatten(0, (batch, groups, frames)).unflatten(3, (-1, weights.group))
    found = found.permute(0, 3, 1, 4, 2, 5).flatten(2, 3).transpose(-1, -2)
    if mixture is not None:
        found = (found - (found.sum(1, keepdim=True) - 1) / found.shape[1]) * mixture.unsqueeze(1)
    found = found if onto is None else onto + found
    return found.transpose(-1, -2).contiguous().transpose(-1, -2)


def exchange(tokens: Tensor, normed: Tensor, weights: ExchangeWeights, settings: Settings) -> Tensor:
    """Return updated tokens (B, C, K, T, D), which are given as they are, and normed."""
    kind = normed.dtype
    own = torch.tanh(_linear(normed, weights.weight1, weights.bias1))
    shared = torch.tanh(_linear(own.mean(1, keepdim=True).to(kind), weights.weight2, weights.bias2))
    for_own, for_shared = weights.weight3.chunk(2, dim=1)
    update = F.linear(own.to(kind), for_own) + _linear(shared.to(kind), for_shared, weights.bias3)
    return tokens + torch.tanh(update).to(tokens.dtype)


def runs(widths: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first band, first bin, number of bands, width) for every run of bands with the same width."""
    band = first = 0
    for width, same in groupby(widths):
        count = len(list(same))
        yield band, first, count, width
        band, first = band + count, first + count * width


def _last_maps(rows: Tensor, weights: HeadsWeights) -> Iterator[Tensor]:
    """Yield value · sigmoid(gate) of all bands of a width, (re|im, B·G·T, S·C/G, bins), for rows (K, 4, B·G·T, I)."""
    per_bin = weights.weight3.shape[1]
    for band, first, count, width in runs(weights.widths):
        bins = slice(first, first + count * width)
        matrix = weights.weight3[:, :, bins].unflatten(2, (count, width)).permute(2, 0, 1, 3, 4)  # (n, 4, S·C/G, w, I)
        bias = weights.bias3[:, :, bins].unflatten(2, (count, width)).permute(2, 0, 1, 3)
        last = _products(rows[band : band + count].flatten(0, 1), matrix.flatten(2, 3), bias.flatten(2))
        value, gate = last.unflatten(0, (count, 2, 2)).unflatten(-1, (per_bin, width)).unbind(1)
        yield (value * torch.sigmoid(gate)).permute(1, 2, 3, 0, 4).flatten(-2)


def _products(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return rows (n·4, rows, I) times weights (n, 4, O, I), plus biases (n, 4, O): (n·4, rows, O)."""
    product = torch.bmm(rows, weight.flatten(0, 1).transpose(1, 2))
    return product + bias.flatten(0, 1).unsqueeze(1)


def _linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(rows, weight) + bias


def _sequences(grid: Tensor) -> Tensor:
    return grid.reshape(-1, *grid.shape[2:])


def _mixed(projected: Tensor, weights: BlockWeights, back: int) -> Tensor:
    """Return x, B and C of a direction after convolution and SiLU, (N, L, inner + 2 · state)."""
    inner, state = weights.sizes["INNER"], weights.state
    start = back * 2 * (inner + state) + inner
    mixed = _wide(projected[..., start : start + inner + 2 * state])
    taps = weights.conv_weight[back].T.unsqueeze(1)
    return F.silu(depthwise_convolution(mixed, taps, weights.conv_bias[back], reverse=bool(back)))


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
