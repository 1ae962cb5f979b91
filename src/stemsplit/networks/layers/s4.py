"""S4: a linear state space per channel over time, in both directions (Gu et al. 2022, arXiv 2111.00396).

A channel has N conjugate pairs of states x with poles w, a rank-one correction P, an input B and an output C:

    x' = A x + B u,  y = 2 Re(C x),  A = diag(w, w̄) − P P*        "normal plus low rank"

The halves of a pair say the same, so their real and imaginary parts are 2 N real states: of P P* becomes 2 p pᵀ with
p = (Re P, Im P). The bilinear rule with the step dt makes of it x[t] = dA x[t−1] + dB u[t], with the impulse response

    K[l] = c dAˡ dB,  l = 0 … L−1,  c = 2 (Re C, −Im C)

The published code finds K by a Cauchy kernel in the frequency domain. With 2 N = 16 states it is less work to write
l = i m + j with m ≈ √L, and to multiply the rows c dAⁱᵐ by the columns dAʲ dB: see `impulse_responses`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1
"""A fresh layer's dt are drawn between them, evenly in the logarithm."""


class S4(nn.Module):
    """Signals (B, L, H) → (B, L, H): y = GLU(W GELU(k ∗ u + D u) + b), where k reaches into both directions."""

    def __init__(self, width: int, d_state: int = 16) -> None:
        super().__init__()
        poles, low_rank = legs(d_state)
        self.log_dt = nn.Parameter(torch.empty(width).uniform_(math.log(SHORTEST_STEP), math.log(LONGEST_STEP)))
        self.log_rate = nn.Parameter((-poles.real).log().repeat(width, 1))  # of −Re w
        self.frequency = nn.Parameter(poles.imag.repeat(width, 1))  # Im w
        self.P = nn.Parameter(torch.view_as_real(low_rank).repeat(width, 1, 1))  # (H, N, 2): real and imaginary parts
        self.B = nn.Parameter(math.sqrt(2) * torch.view_as_real(low_rank).repeat(width, 1, 1))
        self.C = nn.Parameter(torch.randn(2, width, d_state // 2, 2) * math.sqrt(0.5))  # of either direction
        self.D = nn.Parameter(torch.randn(width))
        self.output = nn.Linear(width, 2 * width)

    def forward(self, u: Tensor, spectrum: Tensor) -> Tensor:
        """Return the output of signals u (B, L, H), with the layer's `spectrum` for this length."""
        length, size = u.shape[1], 2 * (spectrum.shape[-1] - 1)
        mixed = torch.fft.irfft(torch.fft.rfft(u.transpose(1, 2), size) * spectrum, size)[..., :length]
        value, gate = self.output(F.gelu(mixed.transpose(1, 2))).to(u.dtype).chunk(2, dim=-1)
        return value * gate.sigmoid()

    def spectrum(self, length: int) -> Tensor:
        """Return the transfer function (H, 1 + n / 2) for signals of some length, with n ≥ 2 · length − 1.

        It depends on the weights alone: a network that runs the layer many times makes it once.
        """
        with torch.autocast(self.D.device.type, enabled=False):
            ahead, behind = self.kernels(length)
            size = fast_size(2 * length - 1)
            # Circular: tap 0 first, and the taps that reach into the future from the end on backwards.
            gap = ahead.new_zeros(len(ahead), size - 2 * length + 1)
            taps = torch.cat([ahead[:, :1] + self.D[:, None], ahead[:, 1:], gap, behind[:, : length - 1].flip(-1)], -1)
            return torch.fft.rfft(taps)

    def kernels(self, length: int) -> Tensor:
        """Return both directions' impulse responses (2, H, L); the second one's first tap is one step ahead."""
        return impulse_responses(*self.discrete(), length)

    def discrete(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return dA (H, 2 N, 2 N), dB (H, 2 N) and c (2, H, 2 N) of the discrete system, see the module."""
        rate, frequency = torch.diag_embed(-self.log_rate.exp()), torch.diag_embed(self.frequency)
        poles = torch.cat([torch.cat([rate, -frequency], -1), torch.cat([frequency, rate], -1)], -2)
        p, b = _stacked(self.P), _stacked(self.B)
        dt = self.log_dt.exp()[:, None, None]
        half = dt / 2 * (poles - 2 * p.unsqueeze(-1) * p.unsqueeze(-2))
        one = torch.eye(half.shape[-1], dtype=half.dtype, device=half.device)
        solved = torch.linalg.solve(one - half, torch.cat([one + half, dt * b.unsqueeze(-1)], -1))
        turned = self.C * self.C.new_tensor([2.0, -2.0])
        return solved[..., :-1], solved[..., -1], _stacked(turned)


def _stacked(pairs: Tensor) -> Tensor:
    """Return the real parts, then the imaginary parts, of (…, N, 2) as (…, 2 N)."""
    return pairs.transpose(-1, -2).flatten(-2)


def impulse_responses(dA: Tensor, dB: Tensor, c: Tensor, length: int) -> Tensor:
    """Return K[l] = c dAˡ dB for l < length, (D, H, L), of dA (H, S, S), dB (H, S) and c (D, H, S)."""
    doublings = math.ceil(math.log2(length) / 2) if length > 1 else 0
    columns, power = dB.unsqueeze(-1), dA
    for _ in range(doublings):
        columns, power = torch.cat([columns, power @ columns], -1), power @ power
    rows = c.transpose(0, 1)  # (H, i · D, S); power is dAᵐ
    while rows.shape[1] // len(c) * columns.shape[-1] < length:
        rows, power = torch.cat([rows, rows @ power], 1), power @ power
    found = (rows @ columns).unflatten(1, (-1, len(c)))  # (H, i, D, m)
    return found.permute(2, 0, 1, 3).flatten(2)[..., :length]


def recurrence(dA: Tensor, dB: Tensor, c: Tensor, u: Tensor) -> Tensor:
    """Return y (D, H, L) of x[t] = dA x[t−1] + dB u[t], y[t] = c x[t], step by step: what `impulse_responses` is of.

    Args:
        dA: (H, S, S).
        dB: (H, S).
        c: (D, H, S).
        u: (H, L).
    """
    state, outputs = torch.zeros_like(dB), []
    for now in u.unbind(-1):
        state = torch.einsum("hij,hj->hi", dA, state) + dB * now[:, None]
        outputs.append(torch.einsum("dhs,hs->dh", c, state))
    return torch.stack(outputs, -1)


def legs(d_state: int) -> tuple[Tensor, Tensor]:
    """Return the poles with negative imaginary part (N,) and P (N,), real but complex64, of HiPPO-LegS.

    LegS is −√(2n+1) √(2k+1) below the diagonal and −(n+1) on it. With P = √(n + ½) it is −½ plus a skew-symmetric
    matrix minus P Pᵀ. The eigenvectors' phases are free, so that P is made real in their basis; B is √2 P there.
    """
    order = torch.arange(d_state, dtype=torch.float64)
    root = (2 * order + 1).sqrt()
    skew = 0.5 * (torch.triu(torch.outer(root, root), 1) - torch.tril(torch.outer(root, root), -1))
    # 1j · skew is Hermitian. Its eigenvalues, which rise, come in pairs ±; the poles are −½ − i · eigenvalue.
    frequency, vectors = torch.linalg.eigh(1j * skew)
    low_rank = (vectors.mH @ (order + 0.5).sqrt().to(vectors.dtype)).abs()
    chosen = frequency[d_state // 2 :].flip(0)
    poles = torch.complex(torch.full_like(chosen, -0.5), -chosen)
    return poles.to(torch.complex64), low_rank[d_state // 2 :].flip(0).to(torch.complex64)


def fast_size(least: int) -> int:
    """Return the least even number ≥ `least` that has no prime factors but 2, 3 and 5: FFTs of such sizes are fast."""
    size = max(2, least + least % 2)
    while _rest(size) > 1:
        size += 2
    return size


def _rest(size: int) -> int:
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    return size
