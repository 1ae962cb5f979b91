"""The Mamba-2 layer (Dao & Gu 2024, arXiv 2405.21060), which can run forward or backward in time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels.convolution import depthwise_convolution
from stemsplit.networks.kernels.ssd import ssd_chunked
from stemsplit.networks.layers.norm import RMSNorm


class Mamba2(nn.Module):
    """One Mamba-2 layer. Its parameters have the names that they have in mamba_ssm.

    in_proj → [z | x | B | C | dt]; depthwise convolution over [x B C], SiLU; SSD; + D x; RMSNorm(y silu(z)); out_proj.

    Args:
        d_model: features of a row.
        d_state: state size S.
        d_conv: taps of the convolution.
        expand: inner width divided by `d_model`.
        headdim: channels of a head; must divide the inner width.
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
        if not self.dt_bias.is_meta:  # meta tensors hold no values, and drawing any would import much more of torch
            self._draw_time_constants()
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = RMSNorm(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    @torch.no_grad()
    def _draw_time_constants(self) -> None:
        """Draw dt log-uniformly from 1e-3 … 1e-1 and A uniformly from 1 … 16, as in the paper's code.

        dt_bias is the inverse softplus of dt.
        """
        dt = torch.exp(torch.empty(self.heads).uniform_(-6.9, -2.3))
        self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        self.A_log.copy_(torch.log(torch.empty(self.heads).uniform_(1, 16)))

    def forward(self, u: Tensor, *, reverse: bool = False) -> Tensor:
        """Map u (N, L, d_model) to (N, L, d_model). With `reverse`, the result is that of flip(forward(flip(u)))."""
        return self.out_proj(self.norm(self.gated(self.in_proj(u), reverse=reverse)))

    def scan_tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the parameters between in_proj and the norm, which `native_scan` needs.

        They are the taps (channels, taps) and the bias (channels) of the convolution, and dt_bias, A_log and D (heads).
        """
        bias = self.conv1d.bias
        if bias is None:
            bias = self.conv1d.weight.new_zeros(self.conv1d.weight.shape[0])
        return self.conv1d.weight.squeeze(1), bias, self.dt_bias, self.A_log, self.D

    def gated(self, projected: Tensor, *, reverse: bool = False) -> Tensor:
        """Compute the part between in_proj and the norm: (N, L, z + x + B + C + dt) → (N, L, d_inner)."""
        n, length, _ = projected.shape
        d, s = self.d_inner, self.d_state
        z, mixed, dt = projected.split([d, d + 2 * s, self.heads], dim=-1)
        mixed = F.silu(depthwise_convolution(mixed, self.conv1d.weight, self.conv1d.bias, reverse=reverse))
        x, b, c = mixed.split([d, s, s], dim=-1)
        x = x.reshape(n, length, self.heads, self.headdim)
        # Decays are exponentials of sums. They are computed in float32 (or float64), even where autocast chooses less.
        wide = torch.float64 if projected.dtype == torch.float64 else torch.float32
        dt = F.softplus(dt.to(wide) + self.dt_bias)
        y = ssd_chunked(x * dt.unsqueeze(-1).to(x.dtype), dt * -torch.exp(self.A_log.to(wide)), b, c, reverse=reverse)
        y = torch.addcmul(y, x, self.D.unsqueeze(-1).to(x.dtype))
        return y.reshape(n, length, d) * F.silu(z)
