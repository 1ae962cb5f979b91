"""The Mamba-2 layer (Dao & Gu 2024, arXiv 2405.21060), forward in time or backward."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels.convolution import depthwise_convolution
from stemsplit.networks.kernels.ssd import ssd_chunked
from stemsplit.networks.layers.norm import RMSNorm


class Mamba2(nn.Module):
    """The parameters of one Mamba-2 layer, named as in mamba_ssm so that either backend loads them strictly.

    in_proj → [z | x | B | C | dt]; depthwise convolution over [x B C], SiLU; SSD; + D x; RMSNorm(y silu(z)); out_proj.
    """

    def __init__(self, d_model: int, d_state: int, d_conv: int, expand: int, headdim: int) -> None:
        super().__init__()
        self.d_inner, self.d_state, self.d_conv, self.headdim = expand * d_model, d_state, d_conv, headdim
        self.heads = self.d_inner // headdim
        if self.heads * headdim != self.d_inner:
            raise ValueError(f"headdim {headdim} does not divide the inner width {self.d_inner}")
        d_mixed = self.d_inner + 2 * d_state
        self.in_proj = nn.Linear(d_model, self.d_inner + d_mixed + self.heads, bias=False)
        self.conv1d = nn.Conv1d(d_mixed, d_mixed, d_conv, groups=d_mixed)
        self.dt_bias = nn.Parameter(torch.empty(self.heads))
        self.A_log = nn.Parameter(torch.empty(self.heads))
        if not self.dt_bias.is_meta:  # where nothing can be drawn, and trying would import a second's worth of torch
            self._draw_time_constants()
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = RMSNorm(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    @torch.no_grad()
    def _draw_time_constants(self) -> None:
        """As in the paper's code: dt log-uniform in 1e-3 … 1e-1 (its bias undoes the softplus), A uniform in 1 … 16."""
        dt = torch.exp(torch.empty(self.heads).uniform_(-6.9, -2.3))
        self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        self.A_log.copy_(torch.log(torch.empty(self.heads).uniform_(1, 16)))

    def forward(self, u: Tensor, *, reverse: bool = False) -> Tensor:
        """Map u (N, L, d_model) to (N, L, d_model); `reverse` equals flip(forward(flip(u))) without the flips."""
        return self.out_proj(self.norm(self.gated(self.in_proj(u), reverse=reverse)))

    def scan_tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return what the scan needs: taps (channels, taps), their bias (channels), dt_bias, A_log and D (heads)."""
        bias = self.conv1d.bias
        if bias is None:
            bias = self.conv1d.weight.new_zeros(self.conv1d.weight.shape[0])
        return self.conv1d.weight.squeeze(1), bias, self.dt_bias, self.A_log, self.D

    def gated(self, projected: Tensor, *, reverse: bool = False) -> Tensor:
        """What lies between in_proj and the norm; projected (N, L, z + x + B + C + dt) → (N, L, d_inner)."""
        n, length, _ = projected.shape
        d, s = self.d_inner, self.d_state
        z, mixed, dt = projected.split([d, d + 2 * s, self.heads], dim=-1)
        mixed = F.silu(depthwise_convolution(mixed, self.conv1d.weight, self.conv1d.bias, reverse=reverse))
        x, b, c = mixed.split([d, s, s], dim=-1)
        x = x.reshape(n, length, self.heads, self.headdim)
        # Decays are exponentials of sums: they stay in float32 (or float64) whatever autocast chose for the products.
        wide = torch.float64 if projected.dtype == torch.float64 else torch.float32
        dt = F.softplus(dt.to(wide) + self.dt_bias)
        y = ssd_chunked(x * dt.unsqueeze(-1).to(x.dtype), dt * -torch.exp(self.A_log.to(wide)), b, c, reverse=reverse)
        y = torch.addcmul(y, x, self.D.unsqueeze(-1).to(x.dtype))
        return y.reshape(n, length, d) * F.silu(z)
