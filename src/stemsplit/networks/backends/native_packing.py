"""Weights as an instruction set of the native library needs them, and the choice of the instruction set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from ctypes import c_void_p
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.errors import DeviceError
from stemsplit.machine.memory import give_back_file_pages
from stemsplit.networks.kernels.native_library import OK, Library

WIDE = ("avx512", "avx2")
"""Instruction sets for fp32, the best first. The portable one is not chosen, because it is no faster than PyTorch."""

BF16 = ("amx", "avx512bf16")
"""The instruction sets with products in bfloat16. Sums, decays and states stay in fp32."""

L = TypeVar("L", bound=nn.Module)
P = TypeVar("P")


class Packer:
    """Pads and packs weights for one instruction set, and keeps the memory that pointers point to."""

    def __init__(self, library: Library, name: str) -> None:
        self.name = name
        self.vector_width, self.panel = library.vector(name), library.panel(name)
        self.pack, self.dtype = (2, torch.bfloat16) if name in BF16 else (1, torch.float32)
        self._kept: list[Tensor] = []

    def padded(self, width: int) -> int:
        """Return the width as a multiple of the vector."""
        return -(-width // self.vector_width) * self.vector_width

    def pad(self, rows: Tensor, dim: int = 0) -> Tensor:
        """Append zeros to one axis, up to a multiple of the vector."""
        missing = self.padded(rows.shape[dim]) - rows.shape[dim]
        if not missing:
            return rows
        after = rows.dim() - 1 - dim % rows.dim()
        return F.pad(rows, (0, 0) * after + (0, missing))

    def pad_to_panel(self, rows: Tensor) -> Tensor:
        """Append zeros to the last axis, up to a multiple of the panel."""
        missing = -rows.shape[-1] % self.panel
        return F.pad(rows, (0, missing)) if missing else rows

    def vector(self, values: Tensor) -> c_void_p:
        """Keep a vector (n,), padded."""
        return self.keep(self.pad(values))

    def matrix(self, weight: Tensor) -> c_void_p:
        """Keep a weight (outputs, inner), packed."""
        return self.in_a_row([weight])

    def matrices(self, weights: Tensor) -> list[c_void_p]:
        """Keep weights (n, …, outputs, inner), packed, and return the pointers to each of n."""
        return self._pointers(self._kept_copy([self.packed(weights)]).chunk(len(weights)))

    def in_a_row(self, weights: Sequence[Tensor]) -> c_void_p:
        """Keep weights (…, outputs, inner), packed one after the other."""
        return c_void_p(self._kept_copy([self.packed(weight) for weight in weights]).data_ptr())

    def packed(self, weight: Tensor) -> Tensor:
        """Return a view of weights (…, outputs, inner) in the order in which the library reads them; see native/abi.h.

        Each is a sequence of panels of outputs. A panel has [inner cells][panel] cells of 4 bytes.
        """
        outputs, inner = weight.shape[-2:]
        values = weight.detach().to(self.dtype)
        if outputs % self.panel or inner % self.pack:
            values = F.pad(values, (0, -inner % self.pack, 0, -outputs % self.panel))
        cells = values.contiguous().view(torch.float32)  # only moved, never computed with
        return cells.unflatten(-2, (-1, self.panel)).transpose(-1, -2)

    def keep(self, values: Tensor) -> c_void_p:
        """Keep values as they are, in float32, and return the pointer to them."""
        return c_void_p(self._kept_copy([values]).data_ptr())

    def each(self, values: Tensor) -> list[c_void_p]:
        """Keep values (n, …) as they are, in float32, and return the pointers to each of n."""
        return self._pointers(self._kept_copy([values]).chunk(len(values)))

    def _kept_copy(self, parts: Sequence[Tensor]) -> Tensor:
        """Copy parts of any shapes into a row of float32, and keep it."""
        kept = torch.empty(sum(part.numel() for part in parts))
        for part, place in zip(parts, kept.split([part.numel() for part in parts]), strict=True):
            place.view(part.shape).copy_(part.detach())
        self._kept.append(kept)
        return kept

    @staticmethod
    def _pointers(parts: Iterable[Tensor]) -> list[c_void_p]:
        return [c_void_p(part.data_ptr()) for part in parts]


class ByPrecision(Generic[L, P]):
    """Packed weights, made when they are needed first: in fp32, and in bfloat16 if autocast asks for that.

    The weights of the layer itself are hardly ever needed again. Where they are pages of a file, these are given back.

    Args:
        library: the native library.
        instructions: an instruction set for all calls; None chooses the best one.
        layer: whose weights are packed.
        pack: makes the packed weights of a layer.
    """

    def __init__(self, library: Library, instructions: str | None, layer: L, pack: Callable[[L, Packer], P]) -> None:
        here = library.instruction_sets()
        self.library, self._layer, self._pack = library, layer, pack
        self.exact = instructions or next(name for name in WIDE if name in here)
        self.fast = instructions or library.bfloat16_set() or self.exact
        self._made: dict[str, tuple[Packer, P]] = {}
        self._lock = threading.Lock()

    def now(self) -> tuple[str, P]:
        """Return the instruction set and the weights for a call that is made now."""
        name = self.fast if autocast_to_bfloat16() else self.exact
        with self._lock:  # several threads may compute chunks, and none may replace memory that another one reads
            if name not in self._made:
                packer = Packer(self.library, name)
                with torch.no_grad(), torch.autocast("cpu", enabled=False):
                    self._made[name] = packer, self._pack(self._layer, packer)
                for weight in self._layer.parameters():
                    give_back_file_pages(weight.data_ptr(), weight.nbytes)
            return name, self._made[name][1]


def autocast_to_bfloat16() -> bool:
    """Return whether products may be computed in bfloat16."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


_local = threading.local()


def thread_scratch(words: int) -> Tensor:
    """Return temporary memory, which is kept for the next call of this thread.

    New pages of memory would cost more time than the arithmetic.
    """
    scratch: Tensor | None = getattr(_local, "scratch", None)
    if scratch is None or scratch.numel() < words:
        _local.scratch = scratch = torch.empty(words, dtype=torch.float32)
    return scratch


def check(name: str, status: int) -> None:
    """Raise DeviceError if a call with an instruction set has failed."""
    if status != OK:
        raise DeviceError(f"the native kernels refused ({name}, status {status})")
