"""The bidirectional Mamba-2 block on NVIDIA GPUs by Triton kernels. It needs neither nvcc nor mamba-ssm.

    rows → layer norm → one product for both directions ─┬→ short sequences: one kernel does all the rest
                                                         └→ long ones: B, C, C Bᵀ → scan → out-projection

Linear maps that follow one another are multiplied to one matrix, as in `ResidualBiMamba.fused`. Arrays have the type of
autocast if that is on, otherwise that of the rows. Decays, states and sums are float32. `Settings` holds the sizes of
the pieces that the kernels work on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.layers.norm import NORM_EPS, RMS_EPS

OLDEST_CAPABILITY = (8, 0)
"""Ampere. Older GPUs have neither bfloat16 nor TF32 products."""

SMALLEST_BLOCK = 16
"""The shortest side that a matrix may have in a product in Triton."""

MOST_PROJECTED = 2**29
"""The most elements of the in-projection at once, 1 GB of bfloat16. More sequences are computed in several parts."""


@dataclass(frozen=True)
class Settings:
    """The sizes of the pieces that the kernels work on. Apart from rounding, results do not depend on them."""

    short_steps: int = 64  # the longest sequence for `short_kernel`
    chunk_steps: int = 64  # steps of a chunk in `scan_kernel`
    out_rows: int = 64  # rows of a block in `out_kernel`
    out_columns: int = 64  # columns of a block in `out_kernel`
    short_warps: int = 8  # warps of the programs of each kernel
    share_warps: int = 8
    scan_warps: int = 4
    out_warps: int = 4
    stages: int = 1  # with more, data are loaded further ahead, which needs more shared memory


FLOAT32 = Settings(short_steps=32, chunk_steps=32, out_rows=32, out_columns=32, scan_warps=8)
"""For float32, which has twice as many bytes per number, and whose products are sums of three."""

SMALLER = Settings(short_steps=16, chunk_steps=16, out_rows=16, out_columns=32)
"""For networks whose states or heads are too large for the GPU's shared memory otherwise."""


class TritonBackend:
    """The backend that uses Triton. See `contract.Backend`.

    Args:
        settings: by default they are chosen by the type of the arrays and the memory of the GPU.
    """

    name = "triton"

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings

    def missing(self, device: torch.device) -> str | None:
        """Return None if Triton works on this device, otherwise the reason in one line.

        It works on a CPU if Triton is interpreted, as it is to test the kernels.
        """
        if find_spec("triton") is None:
            return "Triton is not installed (it comes with PyTorch for CUDA on Linux)"
        if device.type == "cpu" and interpreted():
            return None
        if device.type != "cuda" or torch.version.hip is not None:
            return "its kernels are written for NVIDIA GPUs"
        if torch.cuda.get_device_capability(device) < OLDEST_CAPABILITY:
            return "the GPU is older than Ampere (compute capability 8.0)"
        return start_problem()

    def bind(self, layer: nn.Module) -> Bound | None:
        """Pack the weights of a bidirectional block in float32. Copies in other types are made when they are needed."""
        return TritonBlock(layer, self.settings) if isinstance(layer, ResidualBiMamba) else None


def interpreted() -> bool:
    """Return whether Triton runs kernels as Python on the CPU. Triton reads the variable when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def start_problem() -> str | None:
    """Return None if Triton can run kernels here, otherwise the reason in one line.

    Triton needs a C compiler, with which it builds a small program that launches kernels.
    """
    try:
        import_module("triton.runtime").driver.active.get_current_target()
    except Exception as error:  # of any kind: of the driver, of the compiler, or about the cache folder
        return f"Triton cannot start: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    return None


@dataclass(frozen=True)
class Packed:
    """The weights of a block as the kernels read them. `kernels.triton` states the shapes that are not here."""

    inward: Tensor  # (W, D)
    inward_bias: Tensor  # (W)
    outward: Tensor
    conv_weight: Tensor
    conv_bias: Tensor
    dt_bias: Tensor
    rate: Tensor
    skip: Tensor

    def to(self, dtype: torch.dtype) -> Packed:
        """Return a copy with the large matrices in `dtype`. The other weights stay float32."""
        cast = {name: getattr(self, name).to(dtype) for name in ("inward", "inward_bias", "outward")}
        return replace(self, **cast)


@torch.no_grad()
def pack(block: ResidualBiMamba) -> Packed:
    """Return the weights of a block in float32, arranged, and multiplied where they can be."""
    directions = (block.forward_mamba2, block.backward_mamba2)
    width = 2 * (directions[0].d_inner + directions[0].d_state)
    split = [mamba.in_proj.weight.float().split([width, mamba.heads]) for mamba in directions]
    outward = block.proj.weight.float().chunk(2, dim=1)
    readers = [part for part, _ in split] + [outward[0] + outward[1]] + [part for _, part in split]
    inward = torch.cat(readers)
    bias = inward @ block.norm_bias.float()
    start = 2 * width
    bias[start : start + len(outward[0])] += block.proj.bias.float()
    padding = -len(inward) % SMALLEST_BLOCK  # GPUs read rows faster that start at multiples of 32 bytes
    folded = [
        (out @ (mamba.out_proj.weight.float() * mamba.norm.weight.float())).T
        for mamba, out in zip(directions, outward, strict=True)
    ]

    def both(name: str) -> Tensor:
        return torch.stack([getattr(mamba, name).float() for mamba in directions]).contiguous()

    return Packed(
        inward=F.pad(inward * block.norm_weight.float(), (0, 0, 0, padding)),
        inward_bias=F.pad(bias, (0, padding)),
        outward=torch.stack(folded).contiguous(),
        conv_weight=torch.stack([mamba.conv1d.weight.float().squeeze(1).T for mamba in directions]).contiguous(),
        conv_bias=torch.stack([bias_of(mamba.conv1d) for mamba in directions]),
        dt_bias=both("dt_bias"),
        rate=-both("A_log").exp(),
        skip=both("D"),
    )


def bias_of(conv: torch.nn.Conv1d) -> Tensor:
    """Return the bias of a convolution in float32; zeros if it has none."""
    return torch.zeros_like(conv.weight[:, 0, 0]).float() if conv.bias is None else conv.bias.float()


class TritonBlock:
    """A bound block: rows (N, L, D) → rows (N, L, D) of the same type."""

    def __init__(self, block: ResidualBiMamba, settings: Settings | None) -> None:
        from stemsplit.networks.kernels import triton as ssd_kernels

        self.kernels = ssd_kernels
        self.settings = settings
        self.packed = {torch.float32: pack(block)}
        mamba = block.forward_mamba2
        self.sizes = {
            "D": block.proj.out_features,
            "INNER": mamba.d_inner,
            "STATE": mamba.d_state,
            "HEADS": mamba.heads,
            "HEADDIM": mamba.headdim,
            "TAPS": mamba.d_conv,
        }

    def __call__(self, rows: Tensor) -> Tensor:
        """Compute the block. If the GPU has too little shared memory, use smaller pieces from then on."""
        dtype = working_type(rows)
        if dtype not in self.packed:
            self.packed[dtype] = self.packed[torch.float32].to(dtype)
        rows = rows.contiguous()
        out = torch.empty_like(rows)
        on_device = torch.cuda.device(rows.device) if rows.is_cuda else nullcontext()
        with on_device, torch.autocast(rows.device.type, enabled=False):
            for part in self._parts(rows):
                self._run_or_shrink(rows[part], out[part], self.packed[dtype], dtype)
        return out

    def _parts(self, rows: Tensor) -> Iterator[slice]:
        width = 2 * (2 * self.sizes["INNER"] + 2 * self.sizes["STATE"] + self.sizes["HEADS"]) + self.sizes["D"]
        most = max(1, MOST_PROJECTED // max(1, width * rows.shape[1]))
        for start in range(0, rows.shape[0], most):
            yield slice(start, start + most)

    def _run_or_shrink(self, rows: Tensor, out: Tensor, packed: Packed, dtype: torch.dtype) -> None:
        settings = self.settings or (FLOAT32 if dtype == torch.float32 else Settings())
        try:
            self._run(rows, out, packed, dtype, settings)
        except Exception as error:
            if type(error).__name__ != "OutOfResources" or settings == SMALLER:
                raise
            self.settings = SMALLER
            self._run(rows, out, packed, dtype, SMALLER)

    def _run(self, rows: Tensor, out: Tensor, packed: Packed, dtype: torch.dtype, settings: Settings) -> None:
        if rows.numel() == 0:
            return
        normed = F.layer_norm(rows, rows.shape[-2:], eps=NORM_EPS).to(dtype)
        projected = F.linear(normed, packed.inward, packed.inward_bias)
        precision = "tf32x3" if dtype == torch.float32 else "tf32"  # applies to products of float32 only
        blocks = {
            "BLOCK_D": _block(self.sizes["D"]),
            "BLOCK_S": _block(self.sizes["STATE"]),
            "BLOCK_P": _block(self.sizes["HEADDIM"]),
            "PRECISION": precision,
        }
        if rows.shape[1] <= settings.short_steps:
            self._short(rows, projected, out, packed, blocks, settings)
        else:
            self._long(rows, projected, out, packed, blocks, settings)

    def _short(
        self, rows: Tensor, projected: Tensor, out: Tensor, packed: Packed, blocks: dict[str, Any], settings: Settings
    ) -> None:
        count, length, _ = rows.shape
        p = packed
        self.kernels.short_kernel[(count,)](
            rows, projected, out, p.conv_weight, p.conv_bias, p.dt_bias, p.rate, p.skip, p.outward,
            length, projected.shape[-1], **self.sizes, STEPS=_block(length), EPS=RMS_EPS, **blocks,
            num_warps=settings.short_warps, num_stages=settings.stages,
        )  # fmt: skip

    def _long(
        self, rows: Tensor, projected: Tensor, out: Tensor, packed: Packed, blocks: dict[str, Any], settings: Settings
    ) -> None:
        count, length, _ = rows.shape
        p, steps, stride, sizes = packed, settings.chunk_steps, projected.shape[-1], self.sizes
        chunks = -(-length // steps)
        inner, state, heads = sizes["INNER"], sizes["STATE"], sizes["HEADS"]
        without = {key: value for key, value in blocks.items() if key in ("BLOCK_S", "PRECISION")}
        b = projected.new_empty(2, count, chunks, steps, blocks["BLOCK_S"])
        c = torch.empty_like(b)
        products = projected.new_empty(2, count, chunks, steps, steps)
        self.kernels.share_kernel[(count * chunks, 2)](
            projected, p.conv_weight, p.conv_bias, b, c, products, count, chunks, length, stride,
            INNER=inner, STATE=state, TAPS=sizes["TAPS"], STEPS=steps, **without,
            num_warps=settings.share_warps, num_stages=settings.stages,
        )  # fmt: skip
        gated = projected.new_empty(count, length, 2, inner)
        squares = projected.new_empty(count, length, 2, heads, dtype=torch.float32)
        self.kernels.scan_kernel[(count * heads, 2)](
            projected, p.conv_weight, p.conv_bias, p.dt_bias, p.rate, p.skip, b, c, products, gated, squares,
            count, chunks, length, stride, **sizes, STEPS=steps, **without, BLOCK_P=blocks["BLOCK_P"],
            num_warps=settings.scan_warps, num_stages=settings.stages,
        )  # fmt: skip
        places = count * length
        self.kernels.out_kernel[(-(-places // settings.out_rows),)](
            rows, projected, gated, squares, p.outward, out, places, stride,
            D=sizes["D"], INNER=inner, STATE=state, HEADS=heads, ROWS=settings.out_rows, BLOCK_D=blocks["BLOCK_D"],
            BLOCK_K=min(settings.out_columns, _block(inner)), BLOCK_H=_block(heads), PRECISION=blocks["PRECISION"],
            EPS=RMS_EPS, num_warps=settings.out_warps, num_stages=settings.stages,
        )  # fmt: skip


def working_type(rows: Tensor) -> torch.dtype:
    """Return the type of the matrix products: that of autocast if it is on, otherwise that of the rows.

    There are no kernels for float64, so it is computed in float32.
    """
    kind = rows.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return torch.float32 if rows.dtype == torch.float64 else rows.dtype


def _block(size: int) -> int:
    """Return the smallest power of two that is at least `size`, and at least `SMALLEST_BLOCK`."""
    return max(SMALLEST_BLOCK, 1 << (size - 1).bit_length())
