"""The bidirectional Mamba-2 block by the kernels of mamba-ssm, which the `mamba` extra installs.

It computes the same as `backends.triton`, but with more operations and more memory. It is there to compare with the
kernels of the paper's authors.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.backends.gpu.layers import bind_by, working_type
from stemsplit.networks.backends.gpu.packing import bias_of
from stemsplit.networks.kernels.convolution import depthwise_convolution
from stemsplit.networks.kernels.gpu import reference
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.layers.mamba2 import Mamba2
from stemsplit.networks.layers.norm import RMS_EPS, group_norm

LONGEST_CHUNK = 256
"""Steps of the longest chunk: the default of mamba-ssm. Shorter sequences are a single chunk."""

SCAN_MODULE, CONV_MODULE = "mamba_ssm.ops.triton.ssd_combined", "causal_conv1d"


class MambaBackend:
    """The backend that uses mamba-ssm. See `contract.Backend`."""

    name = "mamba"

    def missing(self, device: torch.device) -> str | None:
        """Return None if mamba-ssm works on this device, otherwise the reason in one line."""
        if device.type != "cuda":
            return "mamba-ssm's kernels are written for GPUs"
        if find_spec("mamba_ssm") is None:
            return "mamba-ssm is not installed: pip install 'stemsplit-mamba[mamba]'"
        return import_problem()

    def bind(self, layer: nn.Module) -> Bound | None:
        """Pack the weights of a layer in float32. Copies in other types are made when they are needed.

        mamba-ssm computes the blocks, and PyTorch the layers around them.
        """
        return MambaBlock(layer) if isinstance(layer, ResidualBiMamba) else bind_by(reference, layer)


@cache
def import_problem() -> str | None:
    """Return None if mamba-ssm can be imported, otherwise the reason in one line.

    Often it was compiled for another version of PyTorch.
    """
    try:
        import_module(SCAN_MODULE)
    except Exception as error:  # a missing library, a symbol that PyTorch no longer has, a driver without a GPU
        return f"mamba-ssm is installed but cannot be imported ({(str(error) or type(error).__name__).splitlines()[0]})"
    return None


class MambaBlock:
    """A bound block: rows (N, L, D) → rows (N, L, D) of the same type."""

    def __init__(self, block: ResidualBiMamba) -> None:
        self.scan = import_module(SCAN_MODULE).mamba_chunk_scan_combined
        self.conv = import_module(CONV_MODULE).causal_conv1d_fn if find_spec(CONV_MODULE) else None
        with torch.no_grad():
            self.weights = {torch.float32: _weights(block)}

    def __call__(self, rows: Tensor) -> Tensor:
        """Compute the block. The backward direction is computed forward, with flipped rows."""
        if rows.numel() == 0:
            return rows
        dtype = working_type(rows)
        if dtype not in self.weights:
            self.weights[dtype] = [_cast(weights, dtype) for weights in self.weights[torch.float32]]
        *directions, around = self.weights[dtype]
        with torch.autocast(rows.device.type, enabled=False):
            normed = group_norm(rows.to(dtype), around["norm_weight"], around["norm_bias"])
            total = F.linear(normed, around["through"], around["bias"])
            total = total + self._direction(normed, directions[0])
            total = total + self._direction(normed.flip(1), directions[1]).flip(1)
        return rows + total.to(rows.dtype)

    def _direction(self, normed: Tensor, weights: dict[str, Any]) -> Tensor:
        n, length, _ = normed.shape
        dtype, heads, inner, state = normed.dtype, weights["heads"], weights["inner"], weights["state"]
        projected = F.linear(normed, weights["inward"])
        z, mixed, dt = projected.split([inner, inner + 2 * state, heads], dim=-1)
        x, b, c = self._convolve(mixed, weights).split([inner, state, state], dim=-1)
        gated = self.scan(
            x.reshape(n, length, heads, -1),
            dt,
            weights["rate"],
            b.reshape(n, length, 1, state),
            c.reshape(n, length, 1, state),
            min(LONGEST_CHUNK, max(16, 1 << (length - 1).bit_length())),  # the power of two that holds the sequence
            D=weights["skip"],
            z=z.reshape(n, length, heads, -1),
            dt_bias=weights["dt_bias"],
            dt_softplus=True,
        ).reshape(n, length, inner)
        scale = torch.rsqrt(gated.float().square().mean(-1, keepdim=True) + RMS_EPS)
        return F.linear(gated, weights["outward"]) * scale.to(dtype)

    def _convolve(self, mixed: Tensor, weights: dict[str, Any]) -> Tensor:
        weight, bias = weights["conv_weight"], weights["conv_bias"]
        if self.conv is None:
            return F.silu(depthwise_convolution(mixed, weight, bias, reverse=False))
        # causal_conv1d takes (N, channels, L), here with the strides of channels last.
        return self.conv(mixed.transpose(1, 2), weight.squeeze(1), bias, activation="silu").transpose(1, 2)


FLOAT32 = ("rate", "dt_bias", "skip")
"""The weights that stay float32 in any case: those of the decays, and D."""


def _cast(weights: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    return {
        name: value.to(dtype) if isinstance(value, Tensor) and name not in FLOAT32 else value
        for name, value in weights.items()
    }


def _weights(block: ResidualBiMamba) -> list[dict[str, Any]]:
    """Return copies of the weights of a block in float32: of the two directions, and of the rest of the block."""
    forward, backward = block.proj.weight.float().chunk(2, dim=1)
    around = {
        "norm_weight": block.norm_weight.float().clone(),
        "norm_bias": block.norm_bias.float().clone(),
        "through": forward + backward,
        "bias": block.proj.bias.float().clone(),
    }
    return [
        _direction_weights(block.forward_mamba2, forward),
        _direction_weights(block.backward_mamba2, backward),
        around,
    ]


def _direction_weights(mamba: Mamba2, out: Tensor) -> dict[str, Any]:
    """Return the weights of one direction.

    `outward` is one matrix for the norm's weight, out_proj, and the block's projection `out`.
    """
    taken = {"inward": mamba.in_proj.weight, "conv_weight": mamba.conv1d.weight, "conv_bias": bias_of(mamba.conv1d)}
    taken |= {"dt_bias": mamba.dt_bias, "skip": mamba.D}
    return {
        **{name: value.float().clone() for name, value in taken.items()},
        "rate": -torch.exp(mamba.A_log.float()),
        "outward": out @ (mamba.out_proj.weight.float() * mamba.norm.weight.float()),
        "heads": mamba.heads,
        "inner": mamba.d_inner,
        "state": mamba.d_state,
    }
