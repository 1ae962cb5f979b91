"""The normalisations of the band-split networks, over rows of features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = torch.finfo(torch.float32).eps
"""The epsilon of `group_norm`, as in the published network."""

RMS_EPS = 1e-5
"""The epsilon of `RMSNorm`, if the network has no other."""


def group_norm(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply GroupNorm(1, D) to rows (…, L, D): each sequence has one mean and variance, over steps and features."""
    normed = F.layer_norm(rows, rows.shape[-2:], eps=NORM_EPS)
    return torch.addcmul(bias, normed, weight)


class RMSNorm(nn.Module):
    """x / rms(x) · weight, over the last axis."""

    def __init__(self, width: int, eps: float = RMS_EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x, of the same shape."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
