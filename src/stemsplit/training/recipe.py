"""A recipe: everything that a training run depends on, in one TOML file."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stemsplit.errors import UsageError
from stemsplit.networks.bsmamba import BSMambaConfig
from stemsplit.training.data import Mixing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Schedule:
    """Optimisation: AdamW, a linear warm-up, a plateau, and a linear decay to zero over the last steps."""

    steps: int = 1000
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 50
    decay_steps: int = 200
    clip: float = 5.0
    ema: float = 0.99
    """Decay per step of the averaged weights, the ones that are kept."""
    masked_weight: float = 0.5
    """Share of stage 1's estimate in the loss."""
    precision: str = "fp32"
    """"bf16" computes products in bfloat16 (autocast); weights, decays, transforms and the loss stay in float32."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision is fp32 or bf16, not {self.precision}")

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        up = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        down = min(1.0, (self.steps - step) / max(self.decay_steps, 1))
        return self.learning_rate * max(min(up, down), 0.0)


@dataclass(frozen=True)
class Recipe:
    """A run: its data, network and schedule. Paths are relative to the recipe's working folder."""

    name: str
    songs: Path
    network: BSMambaConfig
    mixing: Mixing
    schedule: Schedule
    output: Path
    about: dict[str, Any] = field(default_factory=dict)
    """What the exported model's config.json says of it: description, license, trained_on."""
    workers: int = 1
    """Processes that share each batch, on a CPU with several cores."""
    dev_songs: int = 4
    """Songs at the head of the list that are kept from training, for the development score in the log."""
    save_minutes: float = 3.0
    log_steps: int = 10
    dev_steps: int = 200

    def __post_init__(self) -> None:
        if self.workers < 1 or self.schedule.batch_size % self.workers:
            raise ValueError(f"{self.workers} workers cannot share batches of {self.schedule.batch_size}")


def load_recipe(path: Path) -> Recipe:
    """Read a TOML recipe; UsageError names what is missing, unknown or out of range."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; recipes are in recipes/") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    try:
        network = BSMambaConfig.from_dict(values.pop("network", {}))
        mixing = _build(Mixing, values.pop("mixing", {}))
        schedule = _build(Schedule, values.pop("schedule", {}))
        paths = {key: Path(values.pop(key)).expanduser() for key in ("songs", "output")}
        return _build(Recipe, {**values, **paths, "network": network, "mixing": mixing, "schedule": schedule})
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: {error.args[0] if error.args else error}") from error


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    known = {item.name for item in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown settings {', '.join(unknown)} for {kind.__name__.lower()}")
    return kind(**values)
