"""Mamba-2 by state-space duality (Dao & Gu 2024, arXiv 2405.21060), forward in time or backward.

One recurrence, two ways to compute it, same signature:

    h_t = exp(a_t) h_{t-1} + b_t x_tᵀ        state (S, P) of one head
    y_t = c_tᵀ h_t                           a_t = dt_t A (log decay, ≤ 0),  x_t already multiplied by dt_t

`ssd_recurrence` walks through time: slow, readable, the truth that tests compare with.
`ssd_chunked` is the dual form: inside a chunk the sequence map is a masked matrix (C Bᵀ ∘ decay) x, between chunks
only the states travel. C Bᵀ is shared by all heads. The backward direction is the same algebra with the mask
transposed, so nothing is flipped.

Shapes: N sequences, L steps, H heads, P channels per head, S state size, Q chunk length, M chunks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK_STEPS = 64
"""Longest chunk. 32 to 64 is fastest on CPUs: the work inside a chunk grows with its square."""

RMS_EPS = 1e-5


def ssd_recurrence(x: Tensor, a: Tensor, b: Tensor, c: Tensor, *, reverse: bool = False) -> Tensor:
    """Return y (N, L, H, P) by stepping through time.

    Args: x (N, L, H, P); a (N, L, H) log decays; b, c (N, L, S), shared by the heads. `reverse` runs time backward.
    """
    n, length, heads, channels = x.shape
    state = x.new_zeros(n, heads, b.shape[-1], channels)
    outputs: list[Tensor] = []
    steps = range(length - 1, -1, -1) if reverse else range(length)
    for t in steps:
        inflow = torch.einsum("ns,nhp->nhsp", b[:, t], x[:, t])
        state = a[:, t].exp()[..., None, None] * state + inflow
        outputs.append(torch.einsum("ns,nhsp->nhp", c[:, t], state))
    if reverse:
        outputs.reverse()
    return torch.stack(outputs, dim=1)


def ssd_chunked(
    x: Tensor, a: Tensor, b: Tensor, c: Tensor, *, reverse: bool = False, chunk_steps: int = CHUNK_STEPS
) -> Tensor:
    """Return what `ssd_recurrence` returns, by matrix products (arXiv 2405.21060, section 6).

    Any length works: the end is padded with steps that decay by nothing and add nothing, which is exact, and trimmed.
    """
    length = x.shape[1]
    chunks = -(-length // chunk_steps)
    q = -(-length // chunks)
    padding = chunks * q - length
    if padding:
        x, a = F.pad(x, (0, 0, 0, 0, 0, padding)), F.pad(a, (0, 0, 0, padding))
        b, c = F.pad(b, (0, 0, 0, padding)), F.pad(c, (0, 0, 0, padding))
    n, _, heads, channels = x.shape
    # (N·M, ·, Q, ·): one batch of chunks; heads before steps so that every product below is a plain batched matmul.
    x = x.reshape(n * chunks, q, heads, channels).transpose(1, 2)
    a = a.reshape(n * chunks, q, heads).transpose(1, 2)
    b = b.reshape(n * chunks, q, -1)
    c = c.reshape(n * chunks, q, -1)
    clock = a.cumsum(-1)
    y = _within_chunks(x, a, b, c, clock, reverse)
    if chunks > 1:
        y = y + _between_chunks(x, a, b, c, clock, chunks, reverse)
    return y.transpose(1, 2).reshape(n, chunks * q, heads, channels)[:, :length]


def _within_chunks(x: Tensor, a: Tensor, b: Tensor, c: Tensor, clock: Tensor, reverse: bool) -> Tensor:
    """y_t = Σ_s decay(t, s) (c_t · b_s) x_s over the steps s of the same chunk; (N·M, H, Q, P)."""
    decay = decay_matrix(a, clock, reverse)
    scores = (c @ b.transpose(-1, -2)).unsqueeze(1) * decay
    return scores @ x


def decay_matrix(a: Tensor, clock: Tensor, reverse: bool) -> Tensor:
    """Return exp of the log decay between two steps, (…, Q, Q) from a and its cumulative sum (…, Q).

    Forward, step s ≤ t decays by a_{s+1} + … + a_t; backward, step s ≥ t by a_t + … + a_{s-1}. Elsewhere 0.
    The mask goes in before the exponential: a masked difference is positive and would overflow.
    """
    q = a.shape[-1]
    keep = torch.ones(q, q, dtype=torch.bool, device=a.device)
    if reverse:
        before = clock - a  # sum over the steps before this one
        span, keep = before[..., None, :] - before[..., :, None], keep.triu()
    else:
        span, keep = clock[..., :, None] - clock[..., None, :], keep.tril()
    return span.masked_fill(~keep, -torch.inf).exp()


def _between_chunks(x: Tensor, a: Tensor, b: Tensor, c: Tensor, clock: Tensor, chunks: int, reverse: bool) -> Tensor:
    """What earlier (in `reverse`: later) chunks add to each step, through the state; (N·M, H, Q, P)."""
    total = clock[..., -1:]
    if reverse:
        leave, enter = clock - a, total - clock + a  # step → start of its chunk; end of the chunk → step
    else:
        leave, enter = total - clock, clock
    states = b.transpose(-1, -2).unsqueeze(1) @ (x * leave.exp().unsqueeze(-1))  # (N·M, H, S, P)
    heads = x.shape[1]
    n = x.shape[0] // chunks
    states = states.reshape(n, chunks, heads, -1)
    passed = total.reshape(n, chunks, heads)
    carried = _carry(states, passed.exp(), reverse).reshape(n * chunks, heads, b.shape[-1], -1)
    return (c.unsqueeze(1) @ carried) * enter.exp().unsqueeze(-1)


def _carry(states: Tensor, decays: Tensor, reverse: bool) -> Tensor:
    """Return the state that enters each chunk: states (N, M, H, ·) left behind by chunks, decays (N, M, H)."""
    order = list(range(states.shape[1]))
    if reverse:
        order.reverse()
    entering: dict[int, Tensor] = {order[0]: torch.zeros_like(states[:, 0])}
    for previous, current in itertools.pairwise(order):
        entering[current] = decays[:, previous, :, None] * entering[previous] + states[:, previous]
    return torch.stack([entering[m] for m in range(len(order))], dim=1)


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


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last axis, eps 1e-5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, RMS_EPS)


def depthwise_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *, reverse: bool) -> Tensor:
    """Causal (`reverse`: anti-causal) depthwise convolution of rows x (N, L, channels), weight (channels, 1, taps).

    A sum of shifted rows: the transposes that conv1d would need cost more than its arithmetic.
    """
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    return _DepthwiseConvolution.apply(x, weight.squeeze(1).to(x.dtype), bias.to(x.dtype), reverse)


class _DepthwiseConvolution(torch.autograd.Function):
    """Autograd by itself would keep a padded copy of the rows for every tap; the gradient is one more convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.reverse = reverse
        return _add_shifted(torch.addcmul(bias, x, weight[:, -1]), x, weight, reverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad_x = _add_shifted(grad * weight[:, -1], grad, weight, not ctx.reverse)
        products = [(g * rows).sum((0, 1)) for g, rows in _shifted(grad, x, weight.shape[1], ctx.reverse)]
        return grad_x, torch.stack(products, dim=1), grad.sum((0, 1)), None


def _shifted(out: Tensor, x: Tensor, taps: int, reverse: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """For each tap, the steps of `out` that it reaches and the steps of `x` that it reads."""
    length = x.shape[1]
    for lag in range(taps - 1, -1, -1):
        kept = max(length - lag, 0)
        late, early = slice(length - kept, length), slice(0, kept)
        yield (out[:, early], x[:, late]) if reverse else (out[:, late], x[:, early])


def _add_shifted(out: Tensor, x: Tensor, weight: Tensor, reverse: bool) -> Tensor:
    """Add every tap but the last, which reads its own step and is there already, to `out` in place."""
    taps = weight.shape[1]
    for tap, (target, rows) in enumerate(_shifted(out, x, taps, reverse)):
        if tap < taps - 1:
            target.addcmul_(rows, weight[:, tap])
    return out
