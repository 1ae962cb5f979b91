"""State-space duality (Dao & Gu 2024, arXiv 2405.21060), forward in time or backward.

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

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_STEPS = 64
"""Longest chunk. 32 to 64 is fastest on CPUs: the work inside a chunk grows with its square."""


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
