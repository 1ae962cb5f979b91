"""The Mamba layer (Gu & Dao 2023, arXiv 2312.00752), which can run forward or backward in time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels.convolution import depthwise_convolution
from stemsplit.networks.kernels.selective_scan import selective_scan
from stemsplit.networks.layers.bindable import Bindable


class Mamba1(Bindable):
    """One Mamba layer. Its parameters have the names that they have in mamba_ssm.

    in_proj → [x | z]; depthwise convolution over x, SiLU; x_proj → [dt | B | C]; selective scan; + D x; · silu(z);
    out_proj.

    Args:
        d_model: features of a row.
        d_state: state size S of a channel.
        d_conv: taps of the convolution.
        expand: inner width divided by `d_model`.
    """

    def __init__(self, d_model: int, d_state: int, d_conv: int, expand: int) -> None:
        super().__init__()
        inner = expand * d_model
        self.sizes = [math.ceil(d_model / 16), d_state, d_state]
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(self.sizes[0], inner)
        self.A_log = nn.Parameter(torch.empty(inner, d_state))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, d_model, bias=False)
        if not self.A_log.is_meta:  # meta tensors hold no values, and drawing any would import much more of torch
            self._draw_time_constants()

    @torch.no_grad()
    def _draw_time_constants(self) -> None:
        """Set A to −1 … −S, and draw dt log-uniformly from 1e-3 … 1e-1, as in the paper's code."""
        self.A_log.copy_(torch.arange(1.0, self.A_log.shape[1] + 1).log().expand_as(self.A_log))
        nn.init.uniform_(self.dt_proj.weight, -(self.sizes[0] ** -0.5), self.sizes[0] ** -0.5)
        dt = torch.exp(torch.empty_like(self.dt_proj.bias).uniform_(-6.9, -2.3))
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def forward(self, rows: Tensor, *, reverse: bool = False) -> Tensor:
        """Map rows (N, L, d_model) to such rows. With `reverse`, the result is that of flip(forward(flip(rows))).

        At inference the backend computes what lies between the projections, if one is bound.
        """
        gated = self.backend() or self.gated
        return self.out_proj(gated(self.in_proj(rows), reverse=reverse))

    def gated(self, projected: Tensor, *, reverse: bool = False) -> Tensor:
        """Compute what lies between the projections: rows [x | z], (N, L, 2 · inner) → (N, L, inner)."""
        x, gate = projected.chunk(2, dim=-1)
        x = F.silu(depthwise_convolution(x, self.conv1d.weight, self.conv1d.bias, reverse=reverse))
        # Decays are exponentials of sums. They are computed in float32 (or float64), even where autocast chooses less.
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        low, into, out_of = self.x_proj(x).split(self.sizes, dim=-1)
        with torch.autocast(projected.device.type, enabled=False):
            low, into, out_of, x = (value.to(wide) for value in (low, into, out_of, x))
            dt = F.softplus(F.linear(low, self.dt_proj.weight.to(wide), self.dt_proj.bias.to(wide)))
            y = selective_scan(x, dt, -torch.exp(self.A_log.to(wide)), into, out_of, reverse=reverse)
            return torch.addcmul(y, x, self.D.to(wide)) * F.silu(gate.to(wide))
