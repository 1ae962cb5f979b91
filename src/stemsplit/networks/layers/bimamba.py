"""The bidirectional Mamba-2 blocks: every step gets information from the steps before it and from those after it.

`ResidualBiMamba` is that of TS-BSMamba2, `PreNormBiMamba` that of BSMamba2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels import native_scan
from stemsplit.networks.layers.bindable import Bindable
from stemsplit.networks.layers.mamba2 import Mamba2
from stemsplit.networks.layers.norm import RMS_EPS, RMSNorm, group_norm

ROWS_AT_ONCE = 4096
"""How many rows `PreNormBiMamba` computes at once at inference, about: their tensors fit into the cache."""


class ResidualBiMamba(Bindable):
    """x + linear([forward(n) + n ; backward(n) + n]) with n = GroupNorm(x), along the last axis but one.

    Args:
        dim: features D of a row.
        d_state: of both Mamba-2 layers, as the following; see `Mamba2`.
        d_conv: see `Mamba2`.
        expand: see `Mamba2`.
        headdim: see `Mamba2`.
    """

    def __init__(self, dim: int, *, d_state: int, d_conv: int, expand: int, headdim: int) -> None:
        super().__init__()
        self.norm_weight = nn.Parameter(torch.ones(dim))
        self.norm_bias = nn.Parameter(torch.zeros(dim))
        self.forward_mamba2 = Mamba2(dim, d_state, d_conv, expand, headdim)
        self.backward_mamba2 = Mamba2(dim, d_state, d_conv, expand, headdim)
        self.proj = nn.Linear(2 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return updated tokens (…, L, D). At inference they are computed by the backend, if one is bound."""
        if (bound := self.backend()) is None:
            return self.fused(tokens)
        if getattr(bound, "strided", False):
            return bound(tokens)
        return bound(tokens.reshape(-1, *tokens.shape[-2:])).view(tokens.shape)

    def fused(self, tokens: Tensor) -> Tensor:
        """Compute the same as `forward_unfused`, with gradients, but in fewer passes over memory.

        Three maps follow one another without a nonlinearity: the weight of the norm, out_proj and proj. They are
        multiplied to one matrix per direction. The division of the norm is by one number per row, so it can come after
        the product.
        """
        rows = tokens.reshape(-1, *tokens.shape[-2:])
        normed = group_norm(rows, self.norm_weight, self.norm_bias)
        directions = (self.forward_mamba2, self.backward_mamba2)
        projected = F.linear(normed, torch.cat([mamba.in_proj.weight for mamba in directions]))
        outward = self.proj.weight.chunk(2, dim=1)
        total = F.linear(normed, outward[0] + outward[1], self.proj.bias)
        if torch.is_grad_enabled() and native_scan.usable(projected):
            gates = native_scan.normed_gates(projected, *(mamba.scan_tensors() for mamba in directions))
            maps = [out @ (m.out_proj.weight * m.norm.weight) for m, out in zip(directions, outward, strict=True)]
            return tokens + (total + F.linear(gates, torch.cat(maps, dim=1))).view(tokens.shape)
        for mamba, part, out, reverse in zip(
            directions, projected.chunk(2, dim=-1), outward, (False, True), strict=True
        ):
            gated = mamba.gated(part, reverse=reverse)
            folded = out @ (mamba.out_proj.weight * mamba.norm.weight)
            scale = torch.rsqrt(gated.square().mean(-1, keepdim=True) + RMS_EPS)
            total = torch.addcmul(total, F.linear(gated, folded), scale.to(total.dtype))
        return tokens + total.view(tokens.shape)

    def forward_unfused(self, tokens: Tensor) -> Tensor:
        """Compute the block as the paper writes it. Tests compare `fused` and every backend with this."""
        rows = tokens.reshape(-1, *tokens.shape[-2:])
        normed = group_norm(rows, self.norm_weight, self.norm_bias)
        ahead = self.forward_mamba2(normed) + normed
        back = self.backward_mamba2(normed, reverse=True) + normed
        return tokens + self.proj(torch.cat([ahead, back], dim=-1)).view(tokens.shape)


class NormedMamba2(nn.Module):
    """Mamba-2 of normalised rows, without the residual connection around it. Arguments as of `Mamba2`."""

    def __init__(self, dim: int, d_state: int, d_conv: int, expand: int, headdim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(dim)
        self.mixer = Mamba2(dim, d_state, d_conv, expand, headdim)

    def forward(self, rows: Tensor, *, reverse: bool) -> Tensor:
        """Return rows (N, L, D)."""
        return self.mixer(self.norm(rows), reverse=reverse)


class PreNormBiMamba(Bindable):
    """x + linear([x + forward(x) ; x + backward(x)]), along the last axis but one (arXiv 2508.14556).

    Each direction has an RMSNorm of its own before it, of every row by itself. Arguments as of `ResidualBiMamba`.
    """

    def __init__(self, dim: int, *, d_state: int, d_conv: int, expand: int, headdim: int) -> None:
        super().__init__()
        self.forward_block = NormedMamba2(dim, d_state, d_conv, expand, headdim)
        self.backward_block = NormedMamba2(dim, d_state, d_conv, expand, headdim)
        self.linear = nn.Linear(2 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return updated tokens (…, L, D). At inference they are computed by the backend, if one is bound."""
        bound = self.backend()
        return self.fused(tokens) if bound is None else bound(tokens)

    def fused(self, tokens: Tensor) -> Tensor:
        """Compute the block as the paper writes it; at inference a few sequences at a time."""
        rows = tokens.reshape(-1, *tokens.shape[-2:])
        if torch.is_grad_enabled():
            return self._updated(rows).view(tokens.shape)
        out = torch.empty(rows.shape, dtype=rows.dtype, device=rows.device)
        step = max(1, ROWS_AT_ONCE // rows.shape[1])
        for start in range(0, len(rows), step):
            out[start : start + step] = self._updated(rows[start : start + step])
        return out.view(tokens.shape)

    def _updated(self, rows: Tensor) -> Tensor:
        ahead = rows + self.forward_block(rows, reverse=False)
        back = rows + self.backward_block(rows, reverse=True)
        return rows + self.linear(torch.cat([ahead, back], dim=-1))
