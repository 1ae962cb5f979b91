"""A task for the loop that trains in no time: a weight that follows what is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.training.schedule import Schedule


class Toy(nn.Module):
    """A weight of 3 and a count, which is no number to average."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("steps", torch.tensor(0))


@dataclass
class ToyTask:
    """The weight grows by about the learning rate at every step; `dev` is its distance from `target`."""

    output: Path
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=40, warmup_steps=0, decay_steps=0, ema=0.0))
    target: float = 0.0
    dev_steps: int = 4
    workers: int = 1
    save_minutes: float = 1e9
    log_steps: int = 2
    crop_seconds: float = 1.0
    has_dev: bool = True
    warm: bool = False

    def build(self) -> nn.Module:
        return Toy()

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return (rng.random((size, 3)).astype(np.float32),)

    def loss_of(self, network: nn.Module, drawn: Tensor) -> Tensor:
        network.steps += 1  # type: ignore[operator]
        return -(drawn.mean(0) * network.weight).sum()  # type: ignore[operator]

    def dev(self, average: nn.Module, device: torch.device) -> dict[str, float]:
        return {"loss": distance(average, self.target), "other": 5.0} if self.has_dev else {}

    def export(self, average: nn.Module) -> Path:
        torch.save(average.state_dict(), self.output / "left.pt")
        return self.output / "left.pt"


def distance(network: nn.Module, target: float) -> float:
    return float((network.weight.detach() - target).abs().mean())  # type: ignore[operator]
