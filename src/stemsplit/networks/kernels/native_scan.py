"""The part of a block between the projections of its two Mamba-2 layers, with gradients, in C++ on the CPU.

The forward and the backward pass are one call each (native/scan.h, native/scan_gradient.h), instead of about two
hundred passes over memory. Only the projected rows are kept for the backward pass. The rest is computed again, sequence
by sequence, in the cache.

Tests compare this with `Mamba2.gated` and its norm. `ResidualBiMamba.fused` uses these where the library cannot be
used: on another device, for float64, without the library, or if STEMSPLIT_BACKEND is neither auto nor native.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stemsplit.machine.device import wanted_backend
from stemsplit.networks.kernels.native_library import OK, Library, ScanParameters, ScanShape, load_library

TYPES = {torch.float32: 0, torch.bfloat16: 1}
"""The types that rows may have → the library's numbers for them. Sums, decays and states are float32 in any case."""

WIDE = ("avx512bf16", "avx512", "avx2")
"""Instruction sets to choose from, the best first. The portable one is only for tests."""


def usable(rows: Tensor) -> bool:
    """Return whether `normed_gates` works for the device and type of `rows`, and no other backend is asked for."""
    if wanted_backend() not in ("auto", "native") or rows.device.type != "cpu":
        return False
    return rows.dtype in TYPES and _chosen() is not None


LayerTensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""The parameters of a Mamba-2 layer that `Mamba2.scan_tensors` returns."""


def normed_gates(
    projected: Tensor, forward: LayerTensors, backward: LayerTensors, *, instructions: str | None = None
) -> Tensor:
    """Return `Mamba2.gated` divided by its root mean square, for both layers of a block: (N, L, 2 · d_inner).

    This is the output of the norm before it is multiplied by the norm's weight.

    Args:
        projected: (N, L, 2 · (z + x + B + C + dt)), the output of both in_proj side by side.
        forward: the parameters of the layer that runs forward in time.
        backward: the parameters of the layer that runs backward in time.
        instructions: an instruction set, for tests; by default the best one.

    Raises:
        RuntimeError: the library reports an error.
        ValueError: the rows have a wrong width.
    """
    shape = _shape(projected, forward)
    out: Tensor = _NormedGates.apply(projected, shape, instructions or _chosen(), *forward, *backward)
    return out


def _shape(projected: Tensor, layer: LayerTensors) -> ScanShape:
    """Return the sizes, which follow from the tensors: a row holds z and x (inner), B and C (state), and dt (heads)."""
    (mixed, taps), heads = layer[0].shape, layer[2].numel()
    inner = projected.shape[-1] // 2 - mixed - heads
    if projected.dim() != 3 or projected.shape[-1] % 2 or inner < 1 or inner % heads or (mixed - inner) % 2:
        raise ValueError(f"projected rows of shape {tuple(projected.shape)} for {mixed} channels and {heads} heads")
    return ScanShape(heads=heads, channels=inner // heads, state=(mixed - inner) // 2, taps=taps)


@cache
def _chosen() -> str | None:
    library = load_library()
    here = library.instruction_sets() if isinstance(library, Library) else ()
    return next((name for name in WIDE if name in here), None)


class _NormedGates(torch.autograd.Function):
    """The two calls of the library as a function of autograd."""

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
    """Return the tensors of both directions in float32, and structures with pointers to them."""
    kept = [value.detach().to(torch.float32).contiguous() for value in parameters]
    pointers = [value.data_ptr() for value in kept]
    half = len(pointers) // 2
    return kept, (ScanParameters * 2)(ScanParameters(*pointers[:half]), ScanParameters(*pointers[half:]))


def _sizes(rows: Tensor) -> tuple[int, int, int, int]:
    """Return the number of the type, and the numbers of sequences, steps and threads."""
    return TYPES[rows.dtype], rows.shape[0], rows.shape[1], _threads(rows)


def _threads(rows: Tensor) -> int:
    return max(1, min(torch.get_num_threads(), rows.shape[0]))


_local = threading.local()


def _scratch(name: str, shape: ScanShape, rows: Tensor, gradient: bool) -> Tensor:
    """Return temporary memory, which is kept for the next call of this thread."""
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
