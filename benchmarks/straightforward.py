"""TS-BSMamba2 as a research script would run it: the baseline that speed is measured against.

The network of this package with its Mamba-2 blocks written out in plain PyTorch: one direction after the other with
flips, projections one by one, conv1d over transposed rows, and the chunked scan of the Mamba-2 authors' minimal listing
(arXiv 2405.21060, listing 1: `segsum`, chunk 64, four einsums) with B and C repeated for every head. The end is padded
to whole chunks, which is exact.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.mamba2 import Mamba2
from stemsplit.networks.layers.norm import group_norm

CHUNK = 64


class Straightforward:
    """A backend, so that everything around the blocks is the same in every measurement."""

    name = "straightforward"

    def missing(self, device: torch.device) -> str | None:
        """Return None: it is only PyTorch."""
        return None

    def bind(self, block: ResidualBiMamba) -> Callable[[Tensor], Tensor]:
        """Return the block, read off the paper."""

        def bound(rows: Tensor) -> Tensor:
            normed = group_norm(rows, block.norm_weight, block.norm_bias)
            ahead = layer(block.forward_mamba2, normed) + normed
            back = layer(block.backward_mamba2, normed.flip(1)).flip(1) + normed
            return rows + block.proj(torch.cat([ahead, back], dim=-1))

        return bound


def layer(mamba: Mamba2, u: Tensor) -> Tensor:
    """One Mamba-2 layer on (N, L, d_model)."""
    n, length, _ = u.shape
    d, s, h = mamba.d_inner, mamba.d_state, mamba.heads
    z, mixed, dt = mamba.in_proj(u).split([d, d + 2 * s, h], dim=-1)
    dt = F.softplus(dt + mamba.dt_bias)
    mixed = F.conv1d(
        mixed.transpose(1, 2), mamba.conv1d.weight, mamba.conv1d.bias, padding=mamba.d_conv - 1, groups=d + 2 * s
    )
    mixed = F.silu(mixed[..., :length].transpose(1, 2))
    x, b, c = mixed.split([d, s, s], dim=-1)
    x = x.reshape(n, length, h, mamba.headdim)
    y = scan(x * dt.unsqueeze(-1), -torch.exp(mamba.A_log) * dt, b, c)
    y = (y + x * mamba.D.unsqueeze(-1)).reshape(n, length, d)
    return mamba.out_proj(mamba.norm(y * F.silu(z)))


def segsum(x: Tensor) -> Tensor:
    """Sums over the segments (i, j] of the last axis; −inf above the diagonal."""
    length = x.shape[-1]
    x = x.unsqueeze(-1).expand(*x.shape, length)
    mask = torch.ones(length, length, dtype=torch.bool, device=x.device)
    sums = x.masked_fill(~mask.tril(-1), 0).cumsum(-2)
    return sums.masked_fill(~mask.tril(0), -torch.inf)


def scan(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """x (N, L, H, P), a (N, L, H), b and c (N, L, S): the listing's steps 1 to 4."""
    n, length, heads, _ = x.shape
    padding = -length % CHUNK
    x, a = F.pad(x, (0, 0, 0, 0, 0, padding)), F.pad(a, (0, 0, 0, padding))
    b, c = F.pad(b, (0, 0, 0, padding)), F.pad(c, (0, 0, 0, padding))
    x, a = x.unflatten(1, (-1, CHUNK)), a.unflatten(1, (-1, CHUNK)).permute(0, 3, 1, 2)
    b, c = (part.unflatten(1, (-1, CHUNK)).unsqueeze(3).expand(-1, -1, -1, heads, -1) for part in (b, c))
    clock = a.cumsum(-1)
    y_diagonal = torch.einsum("bclhn,bcshn,bhcls,bcshp->bclhp", c, b, segsum(a).exp(), x)
    states = torch.einsum("bclhn,bhcl,bclhp->bchpn", b, (clock[..., -1:] - clock).exp(), x)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)
    passed = segsum(F.pad(clock[..., -1], (1, 0))).exp()
    states = torch.einsum("bhzc,bchpn->bzhpn", passed, states)[:, :-1]
    y_off = torch.einsum("bclhn,bchpn,bhcl->bclhp", c, states, clock.exp())
    return (y_diagonal + y_off).reshape(n, length + padding, heads, -1)[:, :length]
