"""What lies between the projections of both Mamba-2 layers of a block, with gradients, in C++ on the CPU.

One call forward and one back (native/scan.h, native/scan_gradient.h) instead of some two hundred passes over memory.
Saved for the way back are the projected rows alone; the rest is computed again, sequence by sequence, in cache. The
truth is `Mamba2.gated` and its norm, which `ResidualBiMamba.fused` runs where this does not work: another device,
float64, no library, or STEMSPLIT_BACKEND set to anything but auto and native.
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
"""What rows may be in, with the library's numbers; sums, decays and states are float32."""

WIDE = ("avx512bf16", "avx512", "avx2")
"""Instruction sets, the best first; the portable one is for tests."""


def usable(rows: Tensor) -> bool:
    """Whether `normed_gates` can take rows of this device and type, and nobody asked for another backend."""
    if wanted_backend() not in ("auto", "native") or rows.device.type != "cpu":
        return False
    return rows.dtype in TYPES and _chosen() is not None


LayerTensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Of one Mamba-2 layer: taps (channels, taps), their bias (channels), dt_bias, A_log and D (H): `scan_tensors`."""


def normed_gates(
    projected: Tensor, forward: LayerTensors, backward: LayerTensors, *, instructions: str | None = None
) -> Tensor:
    """Return y silu(z) / rms of both directions, (N, L, 2 · d_inner), of (N, L, 2 · (z + x + B + C + dt)).

    Each half is `Mamba2.gated` divided by its root mean square, before the norm's weight. The second layer runs
    backward in time. `instructions` names an instruction set, for tests.

    Raises:
        RuntimeError: the library refuses; ValueError: rows of another width.
    """
    shape = _shape(projected, forward)
    out: Tensor = _NormedGates.apply(projected, shape, instructions or _chosen(), *forward, *backward)
    return out


def _shape(projected: Tensor, layer: LayerTensors) -> ScanShape:
    """Read the sizes off the tensors: rows hold z and x of the inner width, B and C of the state's, dt of a head."""
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
    """The two calls of the library, as autograd wants them."""

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
