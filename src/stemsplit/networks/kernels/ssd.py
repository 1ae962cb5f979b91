"""State-space duality (Dao & Gu 2024, arXiv 2405.21060), forward or backward in time.

There are two functions with the same signature that compute the same recurrence:

    h_t = exp(a_t) h_{t-1} + b_t x_tᵀ        state (S, P) of one head
    y_t = c_tᵀ h_t                           a_t = dt_t A (log decay, ≤ 0),  x_t already multiplied by dt_t

`ssd_recurrence` goes through time step by step. It is slow and readable, and tests compare the fast versions with it.
`ssd_chunked` is the dual form. Inside a chunk, the map from x to y is a masked matrix: y = (C Bᵀ ∘ decay) x. From one
chunk to the next, only the states are passed on. C Bᵀ is the same for all heads. Backward in time the mask is
transposed, so that no sequence needs to be flipped.

Shapes: N sequences, L steps, H heads, P channels per head, S state size, Q chunk length, M chunks.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_STEPS = 64
"""Steps of the longest chunk. 32 to 64 are fastest on CPUs, since the work in a chunk grows with its length squared."""


def ssd_recurrence(x: Tensor, a: Tensor, b: Tensor, c: Tensor, *, reverse: bool = False) -> Tensor:
    """Return y (N, L, H, P) by going through time step by step.

    Args:
        x: (N, L, H, P), multiplied by dt already.
        a: (N, L, H), log decays.
        b: (N, L, S), the same for all heads.
        c: (N, L, S), the same for all heads.
        reverse: go backward in time.
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
    """Return what `ssd_recurrence` returns, computed by matrix products (arXiv 2405.21060, section 6).

    The length need not be a multiple of the chunk's. Steps without decay and without input are added at the end, and
    removed from the result; that changes nothing.
    """
    length = x.shape[1]
    chunks = -(-length // chunk_steps)
    q = -(-length // chunks)
    padding = chunks * q - length
    if padding:
        x, a = F.pad(x, (0, 0, 0, 0, 0, padding)), F.pad(a, (0, 0, 0, padding))
        b, c = F.pad(b, (0, 0, 0, padding)), F.pad(c, (0, 0, 0, padding))
    n, _, heads, channels = x.shape
    # Shapes (N·M, ·, Q, ·): a batch of chunks. Heads come before steps, so that all products are batched matmuls.
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
    """Return the part of y that comes from the same chunk, (N·M, H, Q, P): y_t = Σ_s decay(t, s) (c_t · b_s) x_s."""
    decay = decay_matrix(a, clock, reverse)
    scores = (c @ b.transpose(-1, -2)).unsqueeze(1) * decay
    return scores @ x


def decay_matrix(a: Tensor, clock: Tensor, reverse: bool) -> Tensor:
    """Return the decay from step s to step t for all pairs, (…, Q, Q), from a and its cumulative sum (…, Q).

    Forward in time it is exp(a_{s+1} + … + a_t) for s ≤ t. Backward in time it is exp(a_t + … + a_{s-1}) for s ≥ t. All
    other entries are 0. They are masked before the exponential, because they are positive there and could overflow.
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
    """Return the part of y that comes from earlier chunks through the state, (N·M, H, Q, P).

    With `reverse` it comes from later chunks.
    """
    total = clock[..., -1:]
    if reverse:
        leave, enter = clock - a, total - clock + a  # log decays from a step to its chunk's start, and from its end
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
    """Return the state that enters each chunk, (N, M, H, ·).

    Args:
        states: (N, M, H, ·), what each chunk adds to the state.
        decays: (N, M, H), the decay of the state over each chunk.
        reverse: go backward in time.
    """
    order = list(range(states.shape[1]))
    if reverse:
        order.reverse()
    entering: dict[int, Tensor] = {order[0]: torch.zeros_like(states[:, 0])}
    for previous, current in itertools.pairwise(order):
        entering[current] = decays[:, previous, :, None] * entering[previous] + states[:, previous]
    return torch.stack([entering[m] for m in range(len(order))], dim=1)
