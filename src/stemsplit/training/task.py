"""What is trained: one task, or a recipe of several. The loop knows no more of them than this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.errors import UsageError
from stemsplit.networks.contract import SeparatorConfig
from stemsplit.networks.registry import ARCHITECTURES
from stemsplit.training.schedule import Schedule
from stemsplit.weights import checkpoint

Event = dict[str, Any]
"""A line of the log: `step`, and `loss` with its speed and hours, or `dev` figures, or what was exported."""


class Task(Protocol):
    """What a run trains, on what, and what it leaves.

    A task is sent to other processes: it is pickled before it is used.
    """

    @property
    def output(self) -> Path:
        """The run's folder."""
        ...

    @property
    def schedule(self) -> Schedule:
        """How long it trains, how fast, and in which arithmetic."""
        ...

    @property
    def workers(self) -> int:
        """Processes that share each batch."""
        ...

    @property
    def save_minutes(self) -> float:
        """Minutes from one save to the next."""
        ...

    @property
    def log_steps(self) -> int:
        """Steps from one `loss` in the log to the next."""
        ...

    @property
    def dev_steps(self) -> int:
        """Steps from one development score to the next."""
        ...

    @property
    def crop_seconds(self) -> float:
        """Length of an example."""
        ...

    @property
    def warm(self) -> bool:
        """Whether a fresh network is a trained one, whose development figures are worth a line in the log."""
        ...

    def build(self) -> nn.Module:
        """Return a fresh network; the loop has set the seed."""
        ...

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draw `size` examples from `rng`, as arrays: what `loss_of` takes as tensors. Threads may call it."""
        ...

    @property
    def loss_of(self) -> Callable[..., Tensor]:
        """A function (network, *batch) → the loss, a scalar; a batch is what was drawn, on the network's device."""
        ...

    def dev(self, average: nn.Module, device: torch.device) -> dict[str, float]:
        """Return figures on data that is not trained on; empty where there is none.

        Lower is better in all of them, or in the one called `loss`: see `averaging.score_of`.
        """
        ...

    def export(self, average: nn.Module) -> Path:
        """Write what the run is for, and return where."""
        ...


class Recipe(Protocol):
    """What `loop.run_recipe` runs."""

    def phases(self) -> Iterator[Task]:
        """Yield the tasks in order, at least one. A task may need what the one before it left."""
        ...


def network_of(architecture: str, config: SeparatorConfig, weights: str = "") -> nn.Module:
    """Return a separator with the weights of a model, or fresh where none is named.

    Raises:
        UsageError: The weights are those of another network.
    """
    network = ARCHITECTURES[architecture].network(config)
    if weights:
        trained = checkpoint.load_network(weights)
        if trained.config != config:
            raise UsageError(f"{weights} is another network than the recipe's: compare its config.json")
        network.load_state_dict(trained.state_dict())
    return network
