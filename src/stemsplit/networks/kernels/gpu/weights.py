"""The weights of layers as the kernels read them: copies, arranged, and multiplied where they can be.

D features, K bands, F bins, S stems, H heads, the axis of 2 is (forward, backward).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

Self = TypeVar("Self", bound="Weights")


@dataclass(frozen=True)
class Weights:
    """The base of the weights of a layer."""

    matrices: ClassVar[tuple[str, ...]]
    """The names of those that are factors of matrix products."""

    def to(self: Self, dtype: torch.dtype) -> Self:
        """Return a copy with the factors of matrix products in `dtype`. The other weights keep their type."""
        return replace(self, **{name: getattr(self, name).to(dtype) for name in self.matrices})

    def tensors(self) -> list[Tensor]:
        """Return all weights."""
        values = (getattr(self, field.name) for field in fields(self))
        return [value for value in values if isinstance(value, Tensor)]


@dataclass(frozen=True)
class BlockWeights(Weights):
    """The weights of a bidirectional block. `block_kernels.py` states the columns of the in-projection, W in all."""

    inward: Tensor  # (W, D)
    inward_bias: Tensor  # (W)
    outward: Tensor  # (2, inner, D)
    conv_weight: Tensor  # (2, taps, inner + 2 · state)
    conv_bias: Tensor  # (2, inner + 2 · state)
    dt_bias: Tensor  # (2, H)
    rate: Tensor  # (2, H): −exp(A_log)
    skip: Tensor  # (2, H): D of Mamba-2
    state: int

    matrices = ("inward", "inward_bias", "outward")

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes by the names that kernels have for them."""
        _, inner, width = self.outward.shape
        heads = self.dt_bias.shape[1]
        taps = self.conv_weight.shape[1]
        sizes = {"D": width, "INNER": inner, "STATE": self.state, "HEADS": heads}
        return {**sizes, "HEADDIM": inner // heads, "TAPS": taps}


@dataclass(frozen=True)
class SplitWeights(Weights):
    """The weights of a band split. The norm's weight and bias are in the others."""

    starts: Tensor  # (K + 1), int32: the first bin of each band, and F
    weight: Tensor  # (D, 2 · group, F), the axis in the middle is (channel of the group, re | im)
    bias: Tensor  # (K, D)
    widths: tuple[int, ...]
    group: int

    matrices = ("weight",)


@dataclass(frozen=True)
class HeadsWeights(Weights):
    """The weights of the heads. The norm's weight and bias are in those of the first map. I = E · D / 4."""

    starts: Tensor  # (K + 1), int32
    weight1: Tensor  # (K, 4, I, D)
    bias1: Tensor  # (K, 4, I)
    weight2: Tensor  # (K, 4, I, I)
    bias2: Tensor  # (K, 4, I)
    weight3: Tensor  # (4, S · group, F, I), the axis of 4 is (value | gate, re | im)
    bias3: Tensor  # (4, S · group, F)
    widths: tuple[int, ...]
    group: int

    matrices = ("weight1", "weight2", "weight3")


@dataclass(frozen=True)
class ExchangeWeights(Weights):
    """The weights of an exchange between channels. The norm's weight and bias are in those of the first map."""

    weight1: Tensor  # (3 · D, D)
    bias1: Tensor  # (3 · D)
    weight2: Tensor  # (3 · D, 3 · D)
    bias2: Tensor  # (3 · D)
    weight3: Tensor  # (D, 6 · D), for a channel's own features, then for the average
    bias3: Tensor  # (D)

    matrices = ("weight1", "weight2", "weight3")
