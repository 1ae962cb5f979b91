"""Layers computed on a GPU, each by a handful of launches. `kernels.gpu` has the kernels.

    block      norm → one product for both directions ─┬→ short sequences: one kernel does all the rest
                                                       └→ long ones: B, C, C Bᵀ → scan → out-projection
    split      one kernel: the norms of all bands, and the maps
    heads      norm → one kernel: the maps of all bands, masks that add up to 1, and what they are masks of
    exchange   norm → one kernel

The functions that launch kernels are those of `kernels.gpu.launches`, or the same ones in PyTorch, which are in
`kernels.gpu.reference`. Factors of products have the type of autocast if that is on. Tokens stay float32, and so do
sums, decays and states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.backends.gpu.packing import pack_block, pack_exchange, pack_heads, pack_split
from stemsplit.networks.kernels.gpu.settings import SMALLER, Settings, settings_for
from stemsplit.networks.kernels.gpu.weights import BlockWeights, ExchangeWeights, HeadsWeights, SplitWeights, Weights
from stemsplit.networks.layers.bands import BandHeads, BandSplit
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.layers.norm import NORM_EPS, RMS_EPS
from stemsplit.networks.layers.tac import TransformAverageConcatenate

MOST_PROJECTED_BYTES = 3 * 2**30
"""The largest in-projection of a block. More sequences are computed in several parts."""

W = TypeVar("W", bound=Weights)
R = TypeVar("R")


class Launched(Generic[W]):
    """The base of what computes a layer: the weights in every type that is needed, and the sizes of the pieces.

    Args:
        pack: returns the weights in a type.
        launches: the module whose functions launch the kernels.
        settings: the sizes; by default they are chosen by the type of the arrays.
    """

    def __init__(self, pack: Callable[[torch.dtype], W], launches: Any, settings: Settings | None) -> None:
        self.launches, self.settings = launches, settings
        self._packed: dict[torch.dtype, W] = {torch.float32: pack(torch.float32)}
        if launches.DOUBLE:
            self._packed[torch.float64] = pack(torch.float64)

    def weights(self, kind: torch.dtype) -> W:
        """Return the weights for products of that type."""
        if kind not in self._packed:
            self._packed[kind] = self._packed[torch.float32].to(kind)
        return self._packed[kind]

    def kind(self, values: Tensor) -> torch.dtype:
        """Return the type of the factors of products."""
        return working_type(values, double=self.launches.DOUBLE)

    def sized(self, kind: torch.dtype, run: Callable[[Settings], R]) -> R:
        """Run kernels with the sizes of this layer. If the GPU has too little shared memory, take smaller ones."""
        settings = self.settings or settings_for(kind)
        try:
            return run(settings)
        except Exception as error:
            if type(error).__name__ != "OutOfResources" or settings == SMALLER:
                raise
            self.settings = SMALLER
        return run(SMALLER)


class BlockOnGpu(Launched[BlockWeights]):
    """A bound block: tokens (…, L, D) with any strides → tokens of the same type and the same strides."""

    strided = True

    def __init__(self, layer: ResidualBiMamba, launches: Any, settings: Settings | None) -> None:
        super().__init__(lambda dtype: pack_block(layer, dtype), launches, settings)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Compute the block, in as many parts as memory requires."""
        kind = self.kind(tokens)
        grid, out = _grids(tokens)
        if tokens.numel():
            with _on(tokens):
                for first, count in self.parts(grid, kind):
                    self.sized(kind, partial(self._run, grid, out, kind, first, count))
        return out.view(tokens.shape)

    def parts(self, grid: Tensor, kind: torch.dtype) -> Iterator[tuple[int, int]]:
        """Yield the first sequence and the number of sequences of every part."""
        outer, inner, length, _ = grid.shape
        size = len(self.weights(kind).inward) * length * kind.itemsize
        most = max(1, MOST_PROJECTED_BYTES // size)
        for first in range(0, outer * inner, most):
            yield first, min(most, outer * inner - first)

    def _run(self, grid: Tensor, out: Tensor, kind: torch.dtype, first: int, count: int, settings: Settings) -> None:
        launches, weights = self.launches, self.weights(kind)
        normed = launches.normed(grid, kind, first, count, NORM_EPS, settings)
        projected = F.linear(normed, weights.inward, weights.inward_bias)
        if grid.shape[2] <= settings.short_steps:
            launches.short(grid, out, first, projected, weights, RMS_EPS, settings)
            return
        shared = launches.share(projected, weights, settings)
        scanned = launches.scan(projected, shared, weights, settings)
        launches.outward(grid, out, first, projected, scanned, weights, RMS_EPS, settings)


class SplitOnGpu(Launched[SplitWeights]):
    """A bound band split: spectrum (B, C, F, T) → tokens (B, G, K, T, D) in float32."""

    def __init__(self, layer: BandSplit, launches: Any, settings: Settings | None) -> None:
        super().__init__(lambda dtype: pack_split(layer, dtype), launches, settings)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """Compute the split."""
        kind = self.kind(spectrum)
        with _on(spectrum):
            return self.sized(kind, lambda s: self.launches.split(spectrum, self.weights(kind), NORM_EPS, s))


class HeadsOnGpu(Launched[HeadsWeights]):
    """Bound heads: tokens (B, G, K, T, D), a mixture (B, C, F, T) or None, spectra (B, S, C, F, T) or None → spectra.

    See `BandHeads.masked` and `BandHeads.added`.
    """

    def __init__(self, layer: BandHeads, launches: Any, settings: Settings | None) -> None:
        super().__init__(lambda dtype: pack_heads(layer, dtype), launches, settings)

    def __call__(self, tokens: Tensor, mixture: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        """Compute the heads."""
        kind = self.kind(tokens)
        given = [None if spectra is None else _frame_by_frame(spectra) for spectra in (mixture, onto)]
        with _on(tokens):
            return self.sized(kind, lambda settings: self._run(tokens, kind, given, settings))

    def _run(self, tokens: Tensor, kind: torch.dtype, given: list[Tensor | None], settings: Settings) -> Tensor:
        normed = _normed(self.launches, tokens, kind, settings)
        return self.launches.heads(normed, self.weights(kind), *given, settings)


class ExchangeOnGpu(Launched[ExchangeWeights]):
    """A bound exchange: tokens (B, C, K, T, D) → tokens of the same type."""

    def __init__(self, layer: TransformAverageConcatenate, launches: Any, settings: Settings | None) -> None:
        super().__init__(lambda dtype: pack_exchange(layer, dtype), launches, settings)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Compute the exchange."""
        kind, tokens = self.kind(tokens), tokens.contiguous()
        with _on(tokens):
            return self.sized(kind, lambda settings: self._run(tokens, kind, settings))

    def _run(self, tokens: Tensor, kind: torch.dtype, settings: Settings) -> Tensor:
        normed = _normed(self.launches, tokens, kind, settings)
        return self.launches.exchange(tokens, normed, self.weights(kind), settings)


_KINDS: tuple[tuple[type[nn.Module], Callable[[Any, Any, Settings | None], Bound]], ...] = (
    (ResidualBiMamba, BlockOnGpu),
    (BandSplit, SplitOnGpu),
    (BandHeads, HeadsOnGpu),
    (TransformAverageConcatenate, ExchangeOnGpu),
)
"""Kind of layer → what computes it."""


def working_type(values: Tensor, *, double: bool = False) -> torch.dtype:
    """Return the type of matrix products: that of autocast if it is on, otherwise that of the values.

    If there is nothing for float64 (`double`), it is computed in float32.
    """
    device = values.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    own = values.dtype.to_real() if values.is_complex() else values.dtype
    return torch.float32 if own == torch.float64 and not double else own


def bind_by(launches: ModuleType | Any, layer: nn.Module, settings: Settings | None = None) -> Bound | None:
    """Return what computes a layer by the launches of a module, or None if there is nothing for it."""
    make = next((make for kind, make in _KINDS if isinstance(layer, kind)), None)
    return None if make is None else make(layer, launches, settings)


def _normed(launches: Any, tokens: Tensor, kind: torch.dtype, settings: Settings) -> Tensor:
    """Return tokens (B, C, K, T, D) of type `kind`, normed per batch, channel and band."""
    grid = tokens.contiguous().flatten(0, 1)
    return launches.normed(grid, kind, 0, grid.shape[0] * grid.shape[1], NORM_EPS, settings).view(tokens.shape)


def _grids(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens (…, L, D) as a grid (outer, inner, L, D), and an empty one with the same strides."""
    grid = tokens if tokens.stride(-1) == 1 else tokens.contiguous()
    grid = (grid if grid.dim() > 3 else grid.unsqueeze(0)).flatten(0, -4)
    out = torch.empty_like(grid)
    if out.stride() != grid.stride():  # there are gaps between the tokens
        grid = grid.contiguous()
        out = torch.empty_like(grid)
    return grid, out


def _frame_by_frame(spectra: Tensor) -> Tensor:
    """Return spectra (…, F, T) with the bins of a frame beside one another in memory, as an STFT writes them."""
    return spectra.transpose(-1, -2).contiguous().transpose(-1, -2)


@contextmanager
def _on(values: Tensor) -> Iterator[None]:
    """Launch kernels on the device of a tensor, without autocast."""
    device = torch.cuda.device(values.device) if values.is_cuda else nullcontext()
    with device, torch.autocast(values.device.type, enabled=False):
        yield
