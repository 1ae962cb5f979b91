"""Mamba-1 between its projections in the native library: its call, and its weights. See kernels/native/selective.h."""

from __future__ import annotations

import torch
from torch import Tensor

from stemsplit.networks.backends.native_packing import ByPrecision, Packer, check, thread_scratch
from stemsplit.networks.kernels.native_library import Library, Selective
from stemsplit.networks.layers.mamba1 import Mamba1


class BoundSelective:
    """What a bound `Mamba1` has in the place of `gated`: projected rows (N, L, 2 I) → (N, L, I).

    Rows in float64 are computed by the layer itself. Other types are computed, and returned, in float32.
    """

    def __init__(self, layer: Mamba1, library: Library, instructions: str | None) -> None:
        self.layer, self.library = layer, library
        self._weights = ByPrecision(library, instructions, layer, pack_selective)

    def __call__(self, projected: Tensor, *, reverse: bool = False) -> Tensor:
        """Compute all sequences.

        Raises:
            DeviceError: the library reports an error.
            ValueError: the rows have a wrong width.
        """
        if projected.dtype == torch.float64:
            return self.layer.gated(projected, reverse=reverse)
        name, weights = self._weights.now()
        if projected.dim() != 3 or projected.shape[-1] != 2 * weights.inner:
            raise ValueError(f"rows of shape {tuple(projected.shape)}, the layer has {weights.inner} channels")
        rows = projected.detach().to(torch.float32).contiguous()
        out = rows.new_empty(*rows.shape[:2], weights.inner)
        if not rows.numel():
            return out
        threads = min(torch.get_num_threads(), len(rows))
        words = threads * self.library.layer_scratch("selective", name, weights)
        scratch = thread_scratch(words)
        where = (rows.data_ptr(), out.data_ptr())
        sizes = (len(rows), rows.shape[1], int(reverse), threads, scratch.data_ptr(), words)
        check(name, self.library.layer("selective", name, weights, *where, *sizes))
        return out


def pack_selective(layer: Mamba1, packer: Packer) -> Selective:
    """Pack the weights of a layer."""
    low, state, _ = layer.sizes
    inner, taps = layer.conv1d.weight.shape[0], layer.conv1d.weight.shape[-1]
    assert layer.conv1d.bias is not None
    return Selective(
        inner=inner,
        state=state,
        low=low,
        taps=taps,
        conv=packer.keep(packer.pad(layer.conv1d.weight.squeeze(1).t(), dim=1)),
        conv_bias=packer.vector(layer.conv1d.bias),
        mix=packer.keep(packer.pad(layer.x_proj.weight.t(), dim=1)),
        dt=packer.keep(packer.pad(layer.dt_proj.weight.t(), dim=1)),
        dt_bias=packer.vector(layer.dt_proj.bias),
        a=packer.keep(packer.pad(-torch.exp(layer.A_log.float()).t(), dim=1)),
        skip=packer.vector(layer.D),
    )
