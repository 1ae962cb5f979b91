"""The normalisations of the band-split networks, over rows of features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = torch.finfo(torch.float32).eps
"""Of `group_norm`, as in the published network."""

RMS_EPS = 1e-5


def group_norm(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GroupNorm(1, D) of rows (…, L, D): one mean and variance per sequence, over steps and features together."""
    normed = F.layer_norm(rows, rows.shape[-2:], eps=NORM_EPS)
    return torch.addcmul(bias, normed, weight)


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last axis, eps 1e-5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, RMS_EPS)
