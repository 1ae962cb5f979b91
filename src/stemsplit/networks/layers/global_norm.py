"""The normalisation of networks on waveforms: over all features of all frames, with a gain for each feature."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stemsplit.networks.kernels.features import affine, moments

GLOBAL_EPS = 1e-8
"""The epsilon of `GlobalNorm`, as in the published networks."""


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
