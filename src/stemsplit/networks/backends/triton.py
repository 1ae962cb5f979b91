"""The bidirectional Mamba-2 block on NVIDIA GPUs with Triton: no compiler, no mamba-ssm.

    rows → layer norm → one product for both directions ─┬→ short sequences: one kernel up to the output
                                                         └→ long ones: B, C, C Bᵀ → scan, state at hand → out-projection

The maps around the norms are folded into their neighbours, as in `ResidualBiMamba.forward`. Arrays have the type of
autocast, else that of the rows; decays, states and sums are float32. How the kernels are cut is data, in `Settings`.
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
"""Ampere: older chips have neither bfloat16 nor TF32 products."""

SMALLEST_BLOCK = 16
"""No side of a product in Triton may be shorter."""

MOST_PROJECTED = 2**29
"""Elements of the in-projection at a time (1 GB of bfloat16): more sequences than fit are taken in several goes."""


@dataclass(frozen=True)
class Settings:
    """How the kernels are cut; but for rounding, the results do not depend on it.

    `short_steps` is the longest sequence that one program holds whole, `chunk_steps` what the scan takes at a time, the
    out-projection takes blocks of `out_rows` by `out_columns`. More `stages` load ahead and need more shared memory.
    """

    short_steps: int = 64
    chunk_steps: int = 64
    out_rows: int = 64
    out_columns: int = 64
    short_warps: int = 8
    share_warps: int = 8
    scan_warps: int = 4
    out_warps: int = 4
    stages: int = 1


FLOAT32 = Settings(short_steps=32, chunk_steps=32, out_rows=32, out_columns=32, scan_warps=8)
"""Twice the bytes per number, and products of three parts each."""

SMALLER = Settings(short_steps=16, chunk_steps=16, out_rows=16, out_columns=32)
"""For networks whose states or heads are too large for the chip's shared memory."""


class TritonBackend:
    """See `contract.Backend`."""

    name = "triton"

    def __init__(self, settings: Settings | None = None) -> None:
        """`settings`: instead of those that are chosen by type and chip."""
        self.settings = settings

    def missing(self, device: torch.device) -> str | None:
        """As `Backend.missing`. The CPU will do where Triton is interpreted, which is how the kernels are tested."""
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
        """Pack a bidirectional block's weights, in float32; copies in other types are made when they are needed."""
        return TritonBlock(layer, self.settings) if isinstance(layer, ResidualBiMamba) else None


def interpreted() -> bool:
    """Whether Triton runs as Python on the CPU; read by Triton when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def start_problem() -> str | None:
    """Why Triton cannot launch kernels here, in one line: on Linux it builds a small launcher with the C compiler."""
    try:
        import_module("triton.runtime").driver.active.get_current_target()
    except Exception as error:  # whatever a driver, a compiler or a cache folder may say
        return f"Triton cannot start: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    return None


@dataclass(frozen=True)
class Packed:
    """A block's weights as the kernels read them; `ssd_kernels` has the shapes that are not here."""

    inward: Tensor  # (W, D)
    inward_bias: Tensor  # (W)
    outward: Tensor
    conv_weight: Tensor
    conv_bias: Tensor
    dt_bias: Tensor
    rate: Tensor
    skip: Tensor

    def to(self, dtype: torch.dtype) -> Packed:
        """With the big matrices in `dtype`; what decays are made of stays float32."""
        cast = {name: getattr(self, name).to(dtype) for name in ("inward", "inward_bias", "outward")}
        return replace(self, **cast)


@torch.no_grad()
def pack(block: ResidualBiMamba) -> Packed:
    """Fold and lay out a block's weights, in float32."""
    directions = (block.forward_mamba2, block.backward_mamba2)
    width = 2 * (directions[0].d_inner + directions[0].d_state)
    split = [mamba.in_proj.weight.float().split([width, mamba.heads]) for mamba in directions]
    outward = block.proj.weight.float().chunk(2, dim=1)
    readers = [part for part, _ in split] + [outward[0] + outward[1]] + [part for _, part in split]
    inward = torch.cat(readers)
    bias = inward @ block.norm_bias.float()
    start = 2 * width
    bias[start : start + len(outward[0])] += block.proj.bias.float()
    padding = -len(inward) % SMALLEST_BLOCK  # rows that start at multiples of 32 bytes are read in wide words
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
    return torch.zeros_like(conv.weight[:, 0, 0]).float() if conv.bias is None else conv.bias.float()


class TritonBlock:
    """One block, bound: rows (N, L, D) → rows (N, L, D) of the same type."""

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
        """Run the block; out of shared memory, run it again in smaller pieces from here on."""
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
        precision = "tf32x3" if dtype == torch.float32 else "tf32"  # of float32 products; others have but one
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
    """What the products are computed in; float64 has no kernels, so it is computed in float32."""
    kind = rows.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return torch.float32 if rows.dtype == torch.float64 else rows.dtype


def _block(size: int) -> int:
    """The power of two that holds `size`."""
    return max(SMALLEST_BLOCK, 1 << (size - 1).bit_length())
