"""Weights as an instruction set of the native library needs them, and the choice of the instruction set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import c_void_p
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.errors import DeviceError
from stemsplit.networks.kernels.native_library import OK, Library

WIDE = ("avx512", "avx2")
"""Instruction sets for fp32, the best first. The portable one is not chosen, because it is no faster than PyTorch."""

BF16 = "avx512bf16"
"""The instruction set with products in bfloat16. Sums, decays and states stay in fp32."""

P = TypeVar("P")


class Packer:
    """Pads and packs weights for one instruction set, and keeps the memory that pointers point to."""

    def __init__(self, library: Library, name: str) -> None:
        self.name = name
        self.vector_width, self.panel = library.vector(name), library.panel(name)
        self.pack = 2 if name == BF16 else 1
        self._kept: list[Tensor] = []

    def padded(self, width: int) -> int:
        """Return the width as a multiple of the vector."""
        return -(-width // self.vector_width) * self.vector_width

    def pad(self, rows: Tensor, dim: int = 0) -> Tensor:
        """Append zeros to one axis, up to a multiple of the vector."""
        missing = self.padded(rows.shape[dim]) - rows.shape[dim]
        after = rows.dim() - 1 - dim % rows.dim()
        return F.pad(rows, (0, 0) * after + (0, missing))

    def pad_to_panel(self, rows: Tensor) -> Tensor:
        """Append zeros to the last axis, up to a multiple of the panel."""
        return F.pad(rows, (0, -rows.shape[-1] % self.panel))

    def vector(self, values: Tensor) -> c_void_p:
        """Keep a vector (n,), padded."""
        return self.keep(self.pad(values))

    def matrix(self, weight: Tensor) -> c_void_p:
        """Keep a weight (outputs, inner), packed."""
        return self.keep(self.packed(weight), self._dtype())

    def matrices(self, weights: list[Tensor]) -> c_void_p:
        """Keep weights (groups, outputs, inner), packed one after the other."""
        return self.keep(torch.cat([self.packed(weight).flatten() for weight in weights]), self._dtype())

    def packed(self, weight: Tensor) -> Tensor:
        """Return weights (…, outputs, inner) as the library reads them; see native/abi.h.

        Each is a sequence of panels of outputs. A panel has [inner cells][panel] cells of `pack` inner values.
        """
        outputs, inner = weight.shape[-2:]
        weight = F.pad(weight, (0, -inner % self.pack, 0, -outputs % self.panel))
        panels = weight.unflatten(-1, (-1, self.pack)).unflatten(-3, (-1, self.panel))
        return panels.transpose(-3, -2)

    def keep(self, values: Tensor, dtype: torch.dtype = torch.float32) -> c_void_p:
        """Keep values as they are, and return the pointer to them."""
        kept = values.detach().to(dtype).contiguous().clone()
        self._kept.append(kept)
        return c_void_p(kept.data_ptr())

    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.pack == 2 else torch.float32


class ByPrecision(Generic[P]):
    """Packed weights, made when they are needed first: in fp32, and in bfloat16 if autocast asks for that.

    Args:
        library: the native library.
        instructions: an instruction set for all calls; None chooses the best one.
        pack: makes the packed weights.
    """

    def __init__(self, library: Library, instructions: str | None, pack: Callable[[Packer], P]) -> None:
        here = library.instruction_sets()
        self.library, self._pack = library, pack
        self.exact = instructions or next(name for name in WIDE if name in here)
        self.fast = instructions or (BF16 if BF16 in here else self.exact)
        self._made: dict[str, tuple[Packer, P]] = {}
        self._lock = threading.Lock()

    def now(self) -> tuple[str, P]:
        """Return the instruction set and the weights for a call that is made now."""
        name = self.fast if autocast_to_bfloat16() else self.exact
        with self._lock:  # several threads may compute chunks, and none may replace memory that another one reads
            if name not in self._made:
                packer = Packer(self.library, name)
                with torch.no_grad(), torch.autocast("cpu", enabled=False):
                    self._made[name] = packer, self._pack(packer)
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
