"""How long a run trains, how fast, and in which arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from stemsplit.training.losses import SILENT_WEIGHT


@dataclass(frozen=True)
class Schedule:
    """How a network is optimised.

    The learning rate rises linearly over the first steps, stays, and falls linearly to zero over the last steps.
    """

    steps: int = 1000
    batch_size: int = 4
    """Examples per step, of all workers together."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    """"adamw", or "muon" for the network's matrices with AdamW for the rest."""
    warmup_steps: int = 50
    decay_steps: int = 200
    clip: float = 5.0
    """Largest norm of the gradient; a longer one is shortened to it."""
    ema: float = 0.99
    """Decay per step of the running average of the weights."""
    best: int = 5
    """So many running averages, the best by their development score, are averaged once more for the export."""
    masked_weight: float = 0.5
    """Share of stage 1's estimate in the loss of a separator."""
    silent_weight: float = SILENT_WEIGHT
    """Weight of a stem that should be silent beside a sounding one's, in the loss of a separator."""
    precision: str = "fp32"
    """"fp32", or "bf16" for products in bfloat16; weights, decays, transforms and the loss stay in float32."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: A setting is not one of those that there are.
        """
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision is fp32 or bf16, not {self.precision}")
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"optimizer is adamw or muon, not {self.optimizer}")
        if self.best < 0:
            raise ValueError(f"best is a number of checkpoints, not {self.best}")

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        up = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        down = min(1.0, (self.steps - step) / max(self.decay_steps, 1))
        return self.learning_rate * max(min(up, down), 0.0)
