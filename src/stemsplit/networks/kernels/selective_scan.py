"""The selective scan of Mamba-1 (Gu & Dao 2023, arXiv 2312.00752, algorithm 2): the recurrence, and a fast form of it.

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t        y_t = C_t · h_t

Every channel has its own decays, and a state of S numbers.

Shapes: x and dt (N, L, I), A (I, S), B and C (N, L, S) → y (N, L, I), with N sequences, L steps and I channels.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

STEPS_AT_ONCE = 33
"""Steps whose decays and inputs are made together. It divides the 1,089 tokens of a frame in SFC."""


def scan_recurrence(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, *, reverse: bool = False) -> Tensor:
    """Compute the scan step by step, as the equation says; with `reverse`, from the last step to the first."""
    state = x.new_zeros(x.shape[0], *a.shape)
    steps = range(x.shape[1])
    ys = []
    for t in reversed(steps) if reverse else steps:
        decay = torch.exp(dt[:, t, :, None] * a)
        state = decay * state + (dt[:, t] * x[:, t]).unsqueeze(-1) * b[:, t, None, :]
        ys.append((state * c[:, t, None, :]).sum(-1))
    return torch.stack(ys[::-1] if reverse else ys, dim=1)


def selective_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, *, reverse: bool = False) -> Tensor:
    """Compute the same as `scan_recurrence`, with one operation per step on all sequences and states together.

    What does not depend on the state is computed for many steps at once. For gradients only the states between these
    spans are kept, and the others are computed again.
    """
    rate = a.t().unsqueeze(1)  # (S, 1, I)
    rows = [value.transpose(0, 1) for value in (dt, dt * x, b, c)]
    spans = list(zip(*(value.split(STEPS_AT_ONCE) for value in rows), strict=True))
    state = x.new_zeros(a.shape[1], x.shape[0], a.shape[0])
    ys, run = [], partial(_span, reverse=reverse)
    for span in reversed(spans) if reverse else spans:
        if torch.is_grad_enabled():
            y, state = checkpoint(run, state, rate, *span, use_reentrant=False)
        else:
            y, state = run(state, rate, *span)
        ys.append(y)
    return torch.cat(ys[::-1] if reverse else ys).transpose(0, 1)


def _span(
    state: Tensor, rate: Tensor, dt: Tensor, x: Tensor, b: Tensor, c: Tensor, *, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Return y (Q, N, I) and the next state (S, N, I) of Q steps: dt and dt·x (Q, N, I), b and c (Q, N, S)."""
    decays = torch.exp(rate * dt.unsqueeze(1))  # (Q, S, N, I)
    states = list((b.transpose(1, 2).unsqueeze(-1) * x.unsqueeze(1)).unbind())
    order = range(len(states))
    for t in reversed(order) if reverse else order:
        state = states[t] = torch.addcmul(states[t], decays[t], state)
    return torch.einsum("qsni,qns->qni", torch.stack(states), c), state
