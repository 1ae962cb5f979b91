"""The TF-Locoformer block (Saijo et al. 2024, arXiv 2408.03440) without positional encoding.

Each path is a macaron along one axis: convolutional feed-forward, self-attention, convolutional feed-forward, each with
a norm before it and a residual connection. Tokens are (B, T, K, D): batch, frame, band, feature.

Parameters have the names of the authors' code, where the feed-forward that comes first is the last of its list.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP_EPS = 1e-5
"""The epsilon of `RMSGroupNorm`, which is added to the RMS and not to the mean square."""
SHORT_SEQUENCE = 128
"""Up to so many rows attention is computed by two products."""
ROWS_AT_ONCE = 4096
"""How many rows are computed at once at inference, about: their tensors fit into the cache."""


class RMSGroupNorm(nn.Module):
    """x / (rms(group) + ε) · γ, for groups of consecutive features of each row."""

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, rows: Tensor) -> Tensor:
        """Return normalised rows (…, D)."""
        parts = rows.unflatten(-1, (self.groups, -1))
        rms = torch.linalg.vector_norm(parts, dim=-1, keepdim=True) * parts.shape[-1] ** -0.5
        return (parts / (rms + GROUP_EPS)).flatten(-2) * self.gamma


class ConvFeedForward(nn.Module):
    """SwiGLU with convolutions: D → 2·hidden over `kernel` rows, x1·SiLU(x2), and hidden → D by the transposed one.

    Args:
        dim: features D of a row.
        hidden: width between the convolutions.
        kernel: rows that a convolution reads.
        dropout: share of the values left out in training, after the gate and at the end.
    """

    def __init__(self, dim: int, hidden: int, kernel: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.around, self.dropout = kernel - 1, dropout
        self.conv1d = nn.Conv1d(dim, 2 * hidden, kernel)
        self.deconv1d = nn.ConvTranspose1d(hidden, dim, kernel)

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows (N, L, D)."""
        # As the output is cropped, the transposed convolution is one with mirrored taps that needs no padding.
        padded = F.pad(rows, (0, 0, self.around, self.around))
        value, gate = convolve_rows(padded, self.conv1d.weight, self.conv1d.bias).chunk(2, dim=-1)
        hidden = F.dropout(value * F.silu(gate), self.dropout, self.training)
        mirrored = self.deconv1d.weight.transpose(0, 1).flip(-1)
        return F.dropout(convolve_rows(hidden, mirrored, self.deconv1d.bias), self.dropout, self.training)


def convolve_rows(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve rows (N, L, I) with weight (O, I, taps) into (N, L − taps + 1, O), without padding."""
    # As a picture of one line, whose channels come last in memory, rows need not be copied on a CPU.
    return F.conv2d(rows.transpose(1, 2).unsqueeze(2), weight.unsqueeze(2), bias).squeeze(2).transpose(1, 2)


class SelfAttention(nn.Module):
    """Multi-head self-attention over rows, without biases and positions."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.aggregate_heads = nn.Sequential(nn.Linear(dim, dim, bias=False))

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows (N, L, D)."""
        q, k, v = self.qkv(rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = attend(q, k, v, self.dropout if self.training else 0.0)
        return F.dropout(self.aggregate_heads(found.transpose(1, 2).flatten(2)), self.dropout, self.training)


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Return softmax(q kᵀ / √d) v of (N, H, L, d). On a CPU PyTorch's own version is slow for short sequences."""
    if q.device.type != "cpu" or torch.is_grad_enabled() or q.shape[-2] > SHORT_SEQUENCE:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    return torch.matmul(torch.softmax(scores, dim=-1).to(v.dtype), v)


class Path(nn.Module):
    """The macaron along one axis: rows (N, L, D) → rows (N, L, D)."""

    def __init__(self, dim: int, heads: int, groups: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.ffn_norm = nn.ModuleList(RMSGroupNorm(dim, groups) for _ in range(2))
        self.ffn = nn.ModuleList(ConvFeedForward(dim, hidden, kernel, dropout) for _ in range(2))
        self.attn_norm = RMSGroupNorm(dim, groups)
        self.attn = SelfAttention(dim, heads, dropout)

    def forward(self, rows: Tensor) -> Tensor:
        """Return updated rows. At inference a few sequences are computed at a time."""
        if torch.is_grad_enabled():
            return self._macaron(rows)
        out = torch.empty(rows.shape, dtype=rows.dtype, device=rows.device)
        step = max(1, ROWS_AT_ONCE // rows.shape[1])
        for start in range(0, len(rows), step):
            out[start : start + step] = self._macaron(rows[start : start + step])
        return out

    def _macaron(self, rows: Tensor) -> Tensor:
        rows = self._added(rows, self.ffn_norm[1], self.ffn[1])
        rows = self._added(rows, self.attn_norm, self.attn)
        return self._added(rows, self.ffn_norm[0], self.ffn[0])

    @staticmethod
    def _added(rows: Tensor, norm: Callable[[Tensor], Tensor], layer: Callable[[Tensor], Tensor]) -> Tensor:
        # Sums stay in the type of the rows: in half precision, where autocast is on, each would be rounded.
        return rows + layer(norm(rows)).to(rows.dtype)


class LocoformerBlock(nn.Module):
    """A path over the bands of a frame, then one over the frames of a band.

    Args:
        dim: features D of a token.
        heads: of the attention.
        groups: of the norms.
        hidden: width of the feed-forward layers.
        kernel: rows that their convolutions read.
        dropout: in training.
    """

    def __init__(self, dim: int, *, heads: int, groups: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.freq_path = Path(dim, heads, groups, hidden, kernel, dropout)
        self.frame_path = Path(dim, heads, groups, hidden, kernel, dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return updated tokens (B, T, K, D)."""
        batch, frames, bands, dim = tokens.shape
        tokens = self.freq_path(tokens.reshape(-1, bands, dim)).view(batch, frames, bands, dim)
        rows = tokens.transpose(1, 2).reshape(-1, frames, dim)
        return self.frame_path(rows).view(batch, bands, frames, dim).transpose(1, 2)
