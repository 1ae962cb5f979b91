"""What lies between the projections of both Mamba-2 layers of a block, with gradients, in C++ on the CPU.

One call forward and one back (native/scan.h, native/scan_gradient.h) instead of some two hundred passes over memory.
Saved for the way back are the projected rows alone; the rest is computed again, sequence by sequence, in cache. The
truth is `Mamba2.gated` and its norm, which `ResidualBiMamba.fused` runs where this does not work: another device,
float64, no library, or STEMSPLIT_BACKEND set to anything but auto and native.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stemsplit.networks.backends import VARIABLE
from stemsplit.networks.native_library import OK, Library, ScanParameters, ScanShape, load_library
from stemsplit.networks.ssd import Mamba2

TYPES = {torch.float32: 0, torch.bfloat16: 1}
"""What rows may be in, with the library's numbers; sums, decays and states are float32."""

WIDE = ("avx512bf16", "avx512", "avx2")
"""Instruction sets, the best first; the portable one is for tests."""


def usable(rows: Tensor) -> bool:
    """Whether `normed_gates` can take rows of this device and type, and nobody asked for another backend."""
    wanted = os.environ.get(VARIABLE) or "auto"
    return wanted in ("auto", "native") and rows.device.type == "cpu" and rows.dtype in TYPES and _chosen() is not None


def normed_gates(projected: Tensor, layers: tuple[Mamba2, Mamba2], instructions: str | None = None) -> Tensor:
    """Return y silu(z) / rms of both directions, (N, L, 2 · d_inner), of (N, L, 2 · (z + x + B + C + dt)).

    Each half is `Mamba2.gated` divided by its root mean square, before the norm's weight. The second layer runs
    backward in time. `instructions` names an instruction set, for tests.

    Raises:
        RuntimeError: the library refuses; ValueError: rows of another width.
    """
    shape = _shape(layers[0])
    width = 2 * (2 * shape.heads * shape.channels + 2 * shape.state + shape.heads)
    if projected.dim() != 3 or projected.shape[-1] != width:
        raise ValueError(f"projected rows of shape {tuple(projected.shape)}, the layers have (N, L, {width})")
    parameters = [value for layer in layers for value in _parameters(layer)]
    name = instructions or _chosen()
    out: Tensor = _NormedGates.apply(projected, shape, name, *parameters)
    return out


def _shape(layer: Mamba2) -> ScanShape:
    return ScanShape(heads=layer.heads, channels=layer.headdim, state=layer.d_state, taps=layer.d_conv)


def _parameters(layer: Mamba2) -> tuple[Tensor, ...]:
    """In the library's order, of its shapes: (channels, taps), (channels), (heads) three times."""
    bias = layer.conv1d.bias
    if bias is None:
        bias = layer.conv1d.weight.new_zeros(layer.conv1d.weight.shape[0])
    return layer.conv1d.weight.squeeze(1), bias, layer.dt_bias, layer.A_log, layer.D


@cache
def _chosen() -> str | None:
    library = load_library()
    here = library.instruction_sets() if isinstance(library, Library) else ()
    return next((name for name in WIDE if name in here), None)


class _NormedGates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, shape: ScanShape, name: str, *parameters: Tensor) -> Tensor:
        rows = projected.detach().contiguous()
        ctx.save_for_backward(rows, *parameters)
        ctx.shape, ctx.name = shape, name
        out = rows.new_empty(*rows.shape[:2], 2 * shape.heads * shape.channels)
        _kept, weights = _structures(parameters)
        scratch = _scratch(name, shape, rows, gradient=False)
        pointers = (rows.data_ptr(), out.data_ptr())
        _check(_library().scan(name, shape, weights, pointers, _sizes(rows), (scratch.data_ptr(), scratch.numel())))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, *parameters = ctx.saved_tensors
        grad = grad.to(rows.dtype).contiguous()
        grad_rows = torch.empty_like(rows)
        kept, weights = _structures(tuple(parameters))
        found, gradients = _structures(tuple(torch.zeros_like(value) for value in kept))
        scratch = _scratch(ctx.name, ctx.shape, rows, gradient=True)
        pointers = (rows.data_ptr(), grad.data_ptr(), grad_rows.data_ptr())
        where = (scratch.data_ptr(), scratch.numel())
        _check(_library().scan_gradient(ctx.name, ctx.shape, weights, pointers, gradients, _sizes(rows), where))
        own = (value.to(parameter.dtype) for value, parameter in zip(found, parameters, strict=True))
        return grad_rows, None, None, *own


def _structures(parameters: tuple[Tensor, ...]) -> tuple[list[Tensor], Any]:
    """Both directions' pointers, and the tensors that they point into."""
    kept = [value.detach().to(torch.float32).contiguous() for value in parameters]
    pointers = [value.data_ptr() for value in kept]
    half = len(pointers) // 2
    return kept, (ScanParameters * 2)(ScanParameters(*pointers[:half]), ScanParameters(*pointers[half:]))


def _sizes(rows: Tensor) -> tuple[int, int, int, int]:
    """Type, sequences, steps, threads."""
    return TYPES[rows.dtype], rows.shape[0], rows.shape[1], _threads(rows)


def _threads(rows: Tensor) -> int:
    return max(1, min(torch.get_num_threads(), rows.shape[0]))


_local = threading.local()


def _scratch(name: str, shape: ScanShape, rows: Tensor, gradient: bool) -> Tensor:
    """Memory that is kept for the next call of this thread."""
    words = _library().scan_scratch(name, shape, max(rows.shape[1], 1), _threads(rows), gradient)
    scratch: Tensor | None = getattr(_local, "scratch", None)
    if scratch is None or scratch.numel() < words:
        _local.scratch = scratch = torch.empty(words, dtype=torch.float32)
    return scratch


def _library() -> Library:
    library = load_library()
    if not isinstance(library, Library):
        raise RuntimeError(f"no native kernels: {library}")
    return library


def _check(status: int) -> None:
    if status != OK:
        raise RuntimeError(f"the native kernels refused (status {status})")
