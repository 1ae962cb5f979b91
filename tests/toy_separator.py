"""An architecture in one file, as a newcomer would add it: every stem is the mixture times a number that is learnt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision


@dataclass(frozen=True)
class ToyConfig(Config):
    stems: tuple[str, ...] = ("low", "high")
    sample_rate: int = 2000
    channels: int = 2
    chunk_samples: int = 500
    overlap: float = 0.5

    shortest_samples: ClassVar[int] = 1
    thread_safe: ClassVar[bool] = True
    aligned: ClassVar[bool] = True


class ToySeparator(nn.Module):
    """Mixture (B, C, S) → stems (B, K, C, S)."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.gains = nn.Parameter(torch.full((len(config.stems),), 0.5))

    def forward(self, mixture: Tensor) -> Tensor:
        return self.gains.view(-1, 1, 1) * mixture.unsqueeze(1)

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        mixture = stems.sum(1)
        return [Pair.of(1.0, supervision.folded(self(mixture)), stems, mixture)]


# --- the layout of its public checkpoints


def matches(keys: Collection[str]) -> bool:
    return "toy.gain.0" in keys


def config(state: Mapping[str, Tensor]) -> ToyConfig:
    return ToyConfig(stems=("low", "high")[: len(state)])


def shapes(config: ToyConfig) -> dict[str, tuple[int, ...]]:
    return {f"toy.gain.{k}": () for k in range(len(config.stems))}


def convert(state: Mapping[str, Tensor], config: ToyConfig) -> dict[str, Tensor]:
    return {"gains": torch.stack([state[f"toy.gain.{k}"] for k in range(len(config.stems))])}
