"""A transformer with gated heads (Lu et al. 2023, arXiv 2309.02612) and rotary positions (arXiv 2104.09864).

Rows are (N, L, D): sequences, steps, features. Parameters have the names of the published weights.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROTARY_BASE = 10000.0
FEED_FORWARD_SCALE = 4
ROWS_AT_ONCE = 4096
"""How many rows a CPU computes at once at inference, about: their tensors stay small."""


class L2Norm(nn.Module):
    """√D · x / ‖x‖ · γ over the last axis: an RMS norm that has no epsilon but for silence."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x, of the same shape."""
        return F.normalize(x, dim=-1) * (self.gamma * x.shape[-1] ** 0.5)


def rotary_frequencies(dim: int) -> Tensor:
    """Return the angles per step (dim / 2,), rounded to float32 as in the published weights."""
    return ROTARY_BASE ** -(torch.arange(0, dim, 2, dtype=torch.float32) / dim)


@lru_cache(maxsize=16)
def _rotation(steps: int, dim: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines (L, dim / 2) of all positions."""
    with torch.inference_mode(False):  # they are kept, and may be used outside of inference mode
        angles = torch.outer(torch.arange(steps, dtype=torch.float64), rotary_frequencies(dim).double())
        return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def rotated(x: Tensor) -> Tensor:
    """Turn neighbouring features of x (…, L, d) as pairs, by an angle that grows with the step."""
    wide = torch.promote_types(x.dtype, torch.float32)
    cos, sin = _rotation(x.shape[-2], x.shape[-1], x.device, wide)
    even, odd = x.to(wide).unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Self-attention with rotary positions. Each head is multiplied by a gate, σ of a linear map of the row."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = L2Norm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_gates = nn.Linear(dim, heads)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim, bias=False), nn.Dropout(dropout))

    def forward(self, rows: Tensor) -> Tensor:
        """Return what is to be added to rows (N, L, D)."""
        rows = self.norm(rows)
        q, k, v = self.to_qkv(rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(rotated(q), rotated(k), v, dropout_p=dropout)
        gates = self.to_gates(rows).sigmoid().transpose(1, 2).unsqueeze(-1)
        projected: Tensor = self.to_out((found * gates).transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """Norm → D to 4 D → GELU → D."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        hidden = FEED_FORWARD_SCALE * dim
        self.net = nn.Sequential(
            L2Norm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Return what is to be added to rows (N, L, D)."""
        added: Tensor = self.net(rows)
        return added


class Transformer(nn.Module):
    """Layers of attention and feed-forward, each with a residual connection.

    Args:
        dim: features D of a row.
        layers: how many.
        heads: of the attention.
        head_dim: features of a head.
        dropout: in training.
        normed: whether a norm follows the last layer.
    """

    def __init__(self, dim: int, layers: int, heads: int, head_dim: int, dropout: float, *, normed: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(dim, heads, head_dim, dropout), FeedForward(dim, dropout)]) for _ in range(layers)
        )
        self.norm = L2Norm(dim) if normed else nn.Identity()

    def forward(self, rows: Tensor) -> Tensor:
        """Return updated rows (N, L, D). At inference a CPU computes a few sequences at a time."""
        if torch.is_grad_enabled() or rows.device.type != "cpu":
            return self._updated(rows)
        out = torch.empty(rows.shape, dtype=rows.dtype)
        step = max(1, ROWS_AT_ONCE // rows.shape[1])
        for start in range(0, len(rows), step):
            out[start : start + step] = self._updated(rows[start : start + step].contiguous())
        return out

    def _updated(self, rows: Tensor) -> Tensor:
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            for part in layer:
                # Sums stay in the type of the rows: in half precision, where autocast is on, each would be rounded.
                rows = rows + part(rows).to(rows.dtype)
        normed: Tensor = self.norm(rows)
        return normed
