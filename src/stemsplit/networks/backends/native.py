"""The bidirectional Mamba-2 block in C++ on the CPU, with threads of its own. See kernels/native/block.h.

It computes in fp32. Under `torch.autocast("cpu", torch.bfloat16)` the matrix products are in bfloat16, if the processor
has instructions for that; sums, decays and states stay in fp32.
"""

from __future__ import annotations

import threading
from ctypes import c_void_p

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.errors import DeviceError
from stemsplit.networks.kernels.native_library import (
    OK,
    BlockWeights,
    Direction,
    Library,
    LibraryError,
    Shape,
    load_library,
)
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.layers.mamba2 import Mamba2

WIDE = ("avx512", "avx2")
"""Instruction sets for fp32, the best first. The portable one is not chosen, because it is no faster than PyTorch."""


class NativeBackend:
    """The backend that uses the native library. See `contract.Backend`.

    Args:
        instructions: an instruction set for all calls, for tests and comparisons; by default the best one.
    """

    name = "native"

    def __init__(self, instructions: str | None = None) -> None:
        self.instructions = instructions

    def missing(self, device: torch.device) -> str | None:
        """Return None if this is the CPU, with the library and at least AVX2, otherwise the reason in one line."""
        if torch.device(device).type != "cpu":
            return "it is for the CPU"
        library = load_library()
        if isinstance(library, LibraryError):
            return str(library)
        here = library.instruction_sets()
        if self.instructions is not None and self.instructions not in here:
            return f"this processor has no {self.instructions}, or the compiler had none"
        if self.instructions is None and not set(WIDE) & set(here):
            return "this processor has neither AVX-512 nor AVX2"
        return None

    def bind(self, layer: nn.Module) -> Bound | None:
        """Pack the weights of a bidirectional block.

        Raises:
            DeviceError: the backend does not work here, see `missing`.
        """
        if not isinstance(layer, ResidualBiMamba):
            return None
        reason = self.missing(layer.norm_weight.device)
        library = load_library()
        if reason is not None or isinstance(library, LibraryError):
            raise DeviceError(f"no native kernels: {reason}")
        return BoundBlock(layer, library, self.instructions)


class BoundBlock:
    """A bound block: rows (N, L, D) → rows (N, L, D) of the same type.

    Weights are packed at the first call in each precision. Rows in float64 are computed by the block itself.
    """

    def __init__(self, block: ResidualBiMamba, library: Library, instructions: str | None) -> None:
        self.block, self.library = block, library
        here = library.instruction_sets()
        self.exact = instructions or next(name for name in WIDE if name in here)
        self.fast = instructions or ("avx512bf16" if "avx512bf16" in here else self.exact)
        self._packed: dict[str, PackedBlock] = {}

    def __call__(self, rows: Tensor) -> Tensor:
        """Compute the block with as many threads as PyTorch would use.

        Raises:
            DeviceError: the library reports an error.
            ValueError: the rows have a wrong width.
        """
        if rows.dtype == torch.float64:  # more precision than the library has
            return self.block.fused(rows)
        name = self.fast if _autocast_to_bfloat16() else self.exact
        if name not in self._packed:
            with torch.autocast("cpu", enabled=False):
                self._packed[name] = PackedBlock(self.block, self.library, name)
        packed = self._packed[name]
        if rows.shape[-1] != packed.weights.shape.features:
            raise ValueError(f"rows of {rows.shape[-1]} features, the block has {packed.weights.shape.features}")
        values = rows.detach().to(torch.float32).contiguous()
        out = torch.empty_like(values)
        if values.numel():
            self._run(packed, values, out)
        return out.to(rows.dtype)

    def _run(self, packed: PackedBlock, values: Tensor, out: Tensor) -> None:
        sequences, steps, _ = values.shape
        threads = min(torch.get_num_threads(), sequences)
        words = threads * self.library.scratch(packed.name, packed.weights.shape, steps)
        scratch = _thread_scratch(words)
        pointers = (values.data_ptr(), out.data_ptr(), scratch.data_ptr())
        status = self.library.run(packed.name, packed.weights, pointers, (sequences, steps, threads), words)
        if status != OK:
            raise DeviceError(f"the native kernels refused ({packed.name}, status {status})")


_local = threading.local()


def _thread_scratch(words: int) -> Tensor:
    """Return temporary memory, which is kept for the next call of this thread.

    New pages of memory would cost more time than the arithmetic.
    """
    scratch: Tensor | None = getattr(_local, "scratch", None)
    if scratch is None or scratch.numel() < words:
        _local.scratch = scratch = torch.empty(words, dtype=torch.float32)
    return scratch


def _autocast_to_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


class PackedBlock:
    """The weights of a block as one instruction set needs them, and the tensors that own their memory."""

    @torch.no_grad()
    def __init__(self, block: ResidualBiMamba, library: Library, name: str) -> None:
        self.name = name
        self.vector, self.panel = library.vector(name), library.panel(name)
        self.pack = 2 if name == "avx512bf16" else 1
        self._kept: list[Tensor] = []
        mamba = block.forward_mamba2
        outward = [part.detach().double() for part in block.proj.weight.chunk(2, dim=1)]
        features = block.norm_weight.numel()
        self.weights = BlockWeights(
            shape=Shape(
                features=features,
                inner=mamba.d_inner,
                state=self._padded(mamba.d_state),
                heads=mamba.heads,
                channels=self._padded(mamba.headdim),
                taps=mamba.d_conv,
                heads_padded=self._padded(mamba.heads),
            ),
            norm_weight=self._vector(block.norm_weight),
            norm_bias=self._vector(block.norm_bias),
            straight=self._matrix(outward[0] + outward[1]),
            bias=self._keep(block.proj.bias),
        )
        directions = (block.forward_mamba2, block.backward_mamba2)
        for index, (one, out) in enumerate(zip(directions, outward, strict=True)):
            self.weights.direction[index] = self._direction(one, out)

    def _direction(self, mamba: Mamba2, outward: Tensor) -> Direction:
        inner, state, heads = mamba.d_inner, mamba.d_state, mamba.heads
        gate, x, b, c, dt = mamba.in_proj.weight.double().split([inner, inner, state, state, heads])
        folded = outward @ (mamba.out_proj.weight * mamba.norm.weight).double()
        kernel = torch.cat([mamba.conv1d.weight.squeeze(1), _bias(mamba).unsqueeze(1)], dim=1)  # (channels, taps + 1)
        kernel = torch.cat([self._heads(kernel[:inner], mamba), *map(self._pad, kernel[inner:].split(state))])
        mixed = torch.cat([self._heads(x, mamba), *map(self._pad, (b, c, dt))])
        return Direction(
            mixed=self._matrix(mixed),
            gate=self._matrix(self._heads(gate, mamba)),
            out=self._matrix(self._heads(folded.T, mamba).T),
            conv=self._keep(kernel[:, :-1].T),
            conv_bias=self._keep(kernel[:, -1]),
            dt_bias=self._vector(mamba.dt_bias),
            a=self._vector(-torch.exp(mamba.A_log.double())),
            skip=self._keep(mamba.D),
        )

    def _padded(self, width: int) -> int:
        return -(-width // self.vector) * self.vector

    def _pad(self, rows: Tensor) -> Tensor:
        """Append zeros to the first axis, up to a multiple of the vector."""
        missing = self._padded(rows.shape[0]) - rows.shape[0]
        return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])

    def _heads(self, rows: Tensor, mamba: Mamba2) -> Tensor:
        """Append zeros to the channels of every head: (heads * P, …) → (heads * padded P, …)."""
        heads = rows.unflatten(0, (mamba.heads, mamba.headdim))
        missing = self._padded(mamba.headdim) - mamba.headdim
        return torch.cat([heads, heads.new_zeros(mamba.heads, missing, *heads.shape[2:])], dim=1).flatten(0, 1)

    def _vector(self, values: Tensor) -> c_void_p:
        return self._keep(self._pad(values))

    def _matrix(self, weight: Tensor) -> c_void_p:
        """Pack a weight (outputs, inner) as the library reads it; see native/abi.h.

        It is a sequence of panels of outputs. Each panel has [inner cells][panel] cells of `pack` inner values.
        """
        outputs, inner = weight.shape
        weight = F.pad(weight, (0, -inner % self.pack, 0, -outputs % self.panel))
        panels = weight.view(-1, self.panel, weight.shape[1] // self.pack, self.pack).transpose(1, 2)
        return self._keep(panels, torch.bfloat16 if self.pack == 2 else torch.float32)

    def _keep(self, values: Tensor, dtype: torch.dtype = torch.float32) -> c_void_p:
        kept = values.detach().to(dtype).contiguous().clone()
        self._kept.append(kept)
        return c_void_p(kept.data_ptr())


def _bias(mamba: Mamba2) -> Tensor:
    bias = mamba.conv1d.bias
    return mamba.conv1d.weight.new_zeros(mamba.conv1d.weight.shape[0]) if bias is None else bias
