"""The normalisations of the band-split networks, over rows of features; and one over all features."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels.features import affine, moments

NORM_EPS = torch.finfo(torch.float32).eps
"""The epsilon of `group_norm`, as in the published network."""

GLOBAL_EPS = 1e-8
"""The epsilon of `GlobalNorm`, as in the published networks."""

RMS_EPS = 1e-5
"""The epsilon of `RMSNorm`."""


def group_norm(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply GroupNorm(1, D) to rows (…, L, D): each sequence has one mean and variance, over steps and features."""
    normed = F.layer_norm(rows, rows.shape[-2:], eps=NORM_EPS)
    return torch.addcmul(bias, normed, weight)


class RMSNorm(nn.Module):
    """x / rms(x) · weight, over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x, of the same shape."""
        return F.rms_norm(x, self.weight.shape, self.weight, RMS_EPS)


class Moments(NamedTuple):
    """The means over time of features (B, T, C) and of their squares, (B, 1, C) each."""

    mean: Tensor
    power: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """Return the moments of features (B, T, C)."""
        return cls(*moments(x))

    def after(self, scale: Tensor, shift: Tensor | None = None) -> Moments:
        """Return the moments of features that are multiplied by `scale`, and to which `shift` is added, (…, 1, C)."""
        mean, power = scale * self.mean, scale.square() * self.power
        return Moments(mean, power) if shift is None else Moments(mean + shift, power + shift * (2 * mean + shift))


class GlobalNorm(nn.Module):
    """Features (B, T, C), normalised over T and C together, then scaled and shifted feature by feature.

    All that happens to a feature is a factor and an addend. They follow from its moments, so that what comes next can
    be done in the same pass over the features: see `affine`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x, of the same shape."""
        scale, shift = self.affine(Moments.of(x))
        return affine(x, scale, shift)

    def affine(self, moments: Moments) -> tuple[Tensor, Tensor]:
        """Return the factor and the addend (B, 1, C) of features with some moments."""
        mean, power = moments.mean.mean(2, keepdim=True), moments.power.mean(2, keepdim=True)
        variance = (power - mean.square()).clamp_min(0)
        scale = self.weight * (variance + GLOBAL_EPS).rsqrt()
        return scale, self.bias - mean * scale
