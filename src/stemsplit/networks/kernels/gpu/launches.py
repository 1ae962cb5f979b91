"""The launches of the Triton kernels: each function launches one kernel, and does nothing else on the GPU.

`reference.py` has the same functions in PyTorch. Importing this file needs Triton.

Tokens are grids (outer, inner, L, D) with any strides but that of D, which is 1. A grid has outer · inner sequences.
`kind` is the type of the factors of matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stemsplit.networks.kernels.gpu import block_kernels, layer_kernels
from stemsplit.networks.kernels.gpu.settings import Settings, block_of
from stemsplit.networks.kernels.gpu.weights import BlockWeights, ExchangeWeights, HeadsWeights, SplitWeights

DOUBLE = False
"""Whether float64 is computed in float64."""


def normed(grid: Tensor, kind: torch.dtype, first: int, count: int, eps: float, settings: Settings) -> Tensor:
    """Return so many sequences from `first` on with mean 0 and variance 1, (count, L, D) of type `kind`."""
    _, inner, length, width = grid.shape
    out = torch.empty(count, length, width, dtype=kind, device=grid.device)
    layer_kernels.norm_kernel[(count,)](
        grid, out, length, first, inner, *grid.stride()[:3],
        D=width, ROWS=settings.layer_rows, BLOCK_D=block_of(width), EPS=eps, num_warps=settings.layer_warps,
    )  # fmt: skip
    return out


def short(
    grid: Tensor, out: Tensor, first: int, projected: Tensor, weights: BlockWeights, eps: float, settings: Settings
) -> None:
    """Write the updated sequences of a grid, from `first` on, to `out`. Their in-projection is (N, L, W)."""
    count, length, stride = projected.shape
    w = weights
    block_kernels.short_kernel[(count,)](
        grid, projected, out, w.conv_weight, w.conv_bias, w.dt_bias, w.rate, w.skip, w.outward,
        length, stride, first, grid.shape[1], *grid.stride()[:3],
        **w.sizes, STEPS=block_of(length), EPS=eps, **_blocks(w), PRECISION=_precision(projected),
        num_warps=settings.short_warps, num_stages=settings.stages,
    )  # fmt: skip


def share(projected: Tensor, weights: BlockWeights, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Return what all heads have in common: B, C (2, N, M, Q, BLOCK_S) and C Bᵀ (2, N, M, Q, Q)."""
    count, length, stride = projected.shape
    w, steps, state = weights, settings.chunk_of(length), block_of(weights.state)
    chunks = -(-length // steps)
    b = projected.new_empty(2, count, chunks, steps, state)
    c = torch.empty_like(b)
    products = projected.new_empty(2, count, chunks, steps, steps)
    sizes = {name: w.sizes[name] for name in ("INNER", "STATE", "TAPS")}
    block_kernels.share_kernel[(count * chunks, 2)](
        projected, w.conv_weight, w.conv_bias, b, c, products, count, chunks, length, stride,
        **sizes, STEPS=steps, BLOCK_S=state, PRECISION=_precision(projected),
        num_warps=settings.share_warps, num_stages=settings.stages,
    )  # fmt: skip
    return b, c, products


def scan(
    projected: Tensor, shared: tuple[Tensor, Tensor, Tensor], weights: BlockWeights, settings: Settings
) -> tuple[Tensor, Tensor]:
    """Return y · silu(z) (N, L, 2, inner), and the sums of its squares per head (N, L, 2, H) in float32."""
    count, length, stride = projected.shape
    w, sizes = weights, weights.sizes
    chunks, steps = shared[0].shape[2:4]
    gated = projected.new_empty(count, length, 2, sizes["INNER"])
    squares = projected.new_empty(count, length, 2, sizes["HEADS"], dtype=torch.float32)
    blocks = {name: size for name, size in _blocks(w).items() if name != "BLOCK_D"}
    block_kernels.scan_kernel[(count * sizes["HEADS"], 2)](
        projected, w.conv_weight, w.conv_bias, w.dt_bias, w.rate, w.skip, *shared, gated, squares,
        count, chunks, length, stride, **sizes, STEPS=steps, **blocks, PRECISION=_precision(projected),
        num_warps=settings.scan_warps, num_stages=settings.stages,
    )  # fmt: skip
    return gated, squares


def outward(
    grid: Tensor, out: Tensor, first: int, projected: Tensor, scanned: tuple[Tensor, Tensor],
    weights: BlockWeights, eps: float, settings: Settings,
) -> None:  # fmt: skip
    """Write the updated sequences of a grid, from `first` on, to `out`."""
    count, length, stride = projected.shape
    places, sizes = count * length, weights.sizes
    block_kernels.out_kernel[(-(-places // settings.out_rows),)](
        grid, projected, *scanned, weights.outward, out, places, stride,
        length, first, grid.shape[1], *grid.stride()[:3],
        **{name: sizes[name] for name in ("D", "INNER", "STATE", "HEADS")},
        ROWS=settings.out_rows, BLOCK_D=block_of(sizes["D"]), BLOCK_H=block_of(sizes["HEADS"]),
        BLOCK_K=min(settings.out_columns, block_of(sizes["INNER"])), PRECISION=_precision(projected),
        EPS=eps, num_warps=settings.out_warps, num_stages=settings.stages,
    )  # fmt: skip


def split(spectrum: Tensor, weights: SplitWeights, eps: float, settings: Settings) -> Tensor:
    """Return the tokens (B, G, K, T, D), in float32, of a complex spectrum (B, C, F, T)."""
    parts = torch.view_as_real(spectrum)  # (B, C, F, T, 2)
    batch, channels, bins, frames, _ = parts.shape
    bands, width = weights.bias.shape
    groups, rows = channels // weights.group, settings.layer_rows
    tokens = torch.empty(batch, groups, bands, frames, width, dtype=torch.float32, device=spectrum.device)
    strides = parts.stride()
    layer_kernels.split_kernel[(batch * groups, bands, -(-frames // rows))](
        parts, weights.starts, weights.weight, weights.bias, tokens, frames, groups,
        strides[0], strides[1], strides[3], strides[2],
        D=width, BANDS=bands, BINS=bins, GROUP=weights.group, ROWS=rows, BLOCK_D=block_of(width),
        BLOCK_N=_bins(weights.widths, settings), PRECISION=_precision(weights.weight), EPS=eps,
        num_warps=settings.layer_warps, num_stages=settings.stages,
    )  # fmt: skip
    return tokens


def heads(
    normed: Tensor, weights: HeadsWeights, mixture: Tensor | None, onto: Tensor | None, settings: Settings
) -> Tensor:
    """Return the output of heads, complex (B, S, C, F, T), for normed tokens (B, G, K, T, D).

    It is the output as it is, or that of masks of a mixture (B, C, F, T), and it is added to `onto` if there is any.
    `mixture` and `onto` must be contiguous if F and T are swapped.
    """
    batch, groups, bands, frames, width = normed.shape
    inner, rows = weights.weight2.shape[-1], settings.layer_rows
    _, per_group, bins = weights.bias3.shape
    stems = per_group // weights.group
    out = torch.empty(batch, stems, groups * weights.group, frames, bins, 2, dtype=torch.float32, device=normed.device)
    w = weights
    layer_kernels.heads_kernel[(batch * groups, bands, -(-frames // rows))](
        normed, w.starts, w.weight1, w.bias1, w.weight2, w.bias2, w.weight3, w.bias3,
        out if mixture is None else _parts(mixture), out if onto is None else _parts(onto), out, frames, groups,
        D=width, BANDS=bands, BINS=bins, INNER=inner, STEMS=stems, GROUP=w.group, MASKED=mixture is not None,
        ADDED=onto is not None, ROWS=rows, BLOCK_D=block_of(width), BLOCK_I=block_of(inner),
        BLOCK_N=_bins(w.widths, settings), PRECISION=_precision(normed),
        num_warps=settings.layer_warps, num_stages=settings.stages,
    )  # fmt: skip
    return torch.view_as_complex(out).transpose(-1, -2)


def exchange(tokens: Tensor, normed: Tensor, weights: ExchangeWeights, settings: Settings) -> Tensor:
    """Return updated tokens (B, C, K, T, D) of contiguous ones, which are given as they are, and normed."""
    batch, channels, bands, frames, width = tokens.shape
    out = torch.empty_like(tokens)
    w, rows = weights, settings.layer_rows
    layer_kernels.exchange_kernel[(batch, bands, -(-frames // rows))](
        tokens, normed, out, w.weight1, w.bias1, w.weight2, w.bias2, w.weight3, w.bias3, frames, channels,
        D=width, BANDS=bands, ROWS=rows, BLOCK_D=block_of(width), PRECISION=_precision(normed),
        num_warps=settings.layer_warps, num_stages=settings.stages,
    )  # fmt: skip
    return out


def _parts(spectra: Tensor) -> Tensor:
    """Return spectra (…, F, T) as real numbers (…, T, F, 2)."""
    return torch.view_as_real(spectra.transpose(-1, -2))


def _bins(widths: tuple[int, ...], settings: Settings) -> int:
    return min(settings.layer_bins, block_of(max(widths)))


def _precision(array: Tensor) -> str:
    return "tf32x3" if array.dtype == torch.float32 else "tf32"  # applies to products of float32 only


def _blocks(weights: BlockWeights) -> dict[str, int]:
    sizes = weights.sizes
    return {f"BLOCK_{name[0]}": block_of(sizes[size]) for name, size in (("D", "D"), ("S", "STATE"), ("P", "HEADDIM"))}
