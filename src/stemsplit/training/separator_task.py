"""A separator as a training task: random mixes of songs, both stages' estimates supervised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit import checkpoint
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig
from stemsplit.training.data import Mixing, draw_batch, find_songs
from stemsplit.training.losses import snr_loss
from stemsplit.training.schedule import Schedule


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

    @property
    def crop_seconds(self) -> float:
        """Length of an example."""
        return self.mixing.crop_seconds

    def phases(self) -> Iterator[Recipe]:
        """The runs that make up this one: itself."""
        yield self

    def build(self) -> BSMamba:
        """A fresh separator."""
        return BSMamba(self.network)

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Random mixes: their stems (size, S, C, samples)."""
        return (draw_batch(self._training_songs, self.network.stems, size, self.mixing, self.network.sample_rate, rng),)

    def loss_of(self, network: nn.Module, stems: Tensor) -> Tensor:
        """The loss in dB on stems (B, S, C, samples)."""
        mixture = stems.sum(1)
        with torch.autocast(stems.device.type, torch.bfloat16, enabled=self.schedule.precision == "bf16"):
            estimates = network.estimates(mixture)  # type: ignore[operator]
        share = self.schedule.masked_weight
        loss = (1 - share) * snr_loss(estimates.two_stage, stems, mixture)
        return loss + share * snr_loss(estimates.masked, stems, mixture)

    @torch.inference_mode()
    def dev(self, average: nn.Module, device: torch.device) -> dict[str, float]:
        """Each stem's loss (dB, lower is better) on fixed crops of songs that are not trained on."""
        stems, songs = self.network.stems, self._songs[: self.dev_songs]
        scores: dict[str, list[float]] = {stem: [] for stem in stems}
        for index in range(2 * len(songs)):
            rng = np.random.default_rng((self.schedule.seed, 10**9 + index))
            batch = draw_batch(songs, stems, 1, self.mixing, self.network.sample_rate, rng)
            reference = torch.from_numpy(batch).to(device)
            mixture = reference.sum(1)
            estimate = average(mixture)
            for k, stem in enumerate(stems):
                if reference[:, k].abs().max() > 0:
                    one = slice(k, k + 1)
                    scores[stem].append(float(snr_loss(estimate[:, one], reference[:, one], mixture)))
        return {stem: round(float(np.mean(values)), 3) for stem, values in scores.items() if values}

    def export(self, average: nn.Module) -> Path:
        """Write the averaged weights as a model folder, in half precision."""
        about = {"name": self.name, **self.about}
        return checkpoint.save(average, self.output / "model", dtype=torch.float16, **about)  # type: ignore[arg-type]

    @cached_property
    def _songs(self) -> list[Path]:
        return find_songs(self.songs, self.network.stems)

    @property
    def _training_songs(self) -> list[Path]:
        return self._songs[self.dev_songs :]  # a folder that grows keeps its first songs
