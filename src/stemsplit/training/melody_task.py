"""The melody network as a training task, in the paper's two steps: the 1-D CNN alone [P], then the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.networks.melody_cnn import (
    MelodyCNN,
    MelodyCNNConfig,
    PitchProbe,
    Stage1,
    sort_kernels,
    start_with_cosines,
)
from stemsplit.training.examples.clips import Clip, Clips, MelodyMixing, draw_examples, find_clips
from stemsplit.training.schedule import Schedule
from stemsplit.weights import checkpoint

STARTS = ("pretrained", "cosine", "random")
SIGMA_CENTS = 25.0
"""Width of the target around a pitch."""
KERNELS_NAME = "kernels.pt"


@dataclass(frozen=True)
class MelodyRecipe:
    """A run: its data, network and schedule. Paths are relative to the recipe's working folder."""

    name: str
    clips: Path
    network: MelodyCNNConfig
    mixing: MelodyMixing
    schedule: Schedule
    output: Path
    architecture: str = "melody-cnn"
    """The network's row in `networks.registry`; the steps of this recipe are those of the melody CNN."""
    start: str = "pretrained"
    """Where the 1-D kernels come from: "pretrained" alone first, windowed "cosine"s, or "random"."""
    pretraining_steps: int = 400
    probe: bool = False
    """Train the 1-D CNN alone."""
    dev_singers: tuple[str, ...] = ()
    """Kept from training, for the development score in the log."""
    about: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    save_minutes: float = 3.0
    log_steps: int = 10
    dev_steps: int = 200

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise ValueError(f"start is one of {', '.join(STARTS)}, not {self.start}")
        if self.workers < 1 or self.schedule.batch_size % self.workers:
            raise ValueError(f"{self.workers} workers cannot share batches of {self.schedule.batch_size}")

    @property
    def crop_seconds(self) -> float:
        """Length of an example."""
        return self.mixing.crop_seconds

    def phases(self) -> Iterator[MelodyRecipe]:
        """Return the runs that make up this one, in order."""
        if self.start == "pretrained":
            steps = self.pretraining_steps
            schedule = replace(self.schedule, steps=steps, decay_steps=steps // 2)
            yield replace(self, probe=True, output=self.output / "pretraining", schedule=schedule)
        yield self

    @property
    def warm(self) -> bool:
        """Whether a fresh network is a trained one: no."""
        return False

    def build(self) -> nn.Module:
        """Return a fresh network, or the small one that trains the 1-D CNN alone."""
        if self.probe:
            return PitchProbe(self.network)
        network = MelodyCNN(self.network)
        if self.start == "cosine":
            start_with_cosines(network.stage1, self.network.sample_rate)
        elif self.start == "pretrained":
            kernels = torch.load(self.output / "pretraining" / KERNELS_NAME, weights_only=True)
            network.stage1.load_state_dict(kernels)
        return network

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Random examples: waveforms (size, samples), and f0 (size, T) in Hz."""
        return draw_examples(self._training, size, self.mixing, rng)

    def loss_of(self, network: nn.Module, waveforms: Tensor, f0: Tensor) -> Tensor:
        """Cross-entropy on examples, in nats per frame."""
        with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=self.schedule.precision == "bf16"):
            logits = network(waveforms)
        return pitch_loss(logits.float(), f0, self.network)

    @torch.inference_mode()
    def dev(self, average: nn.Module, device: torch.device, examples: int = 64) -> dict[str, float]:
        """Shares of frames that are right, on fixed examples of the singers kept: overall, and pitch of voiced ones."""
        if self._dev is None:
            return {}
        average.eval()
        figures: list[tuple[float, ...]] = []
        for index in range(examples // 8):
            rng = np.random.default_rng((self.schedule.seed, 10**9 + index))
            waveforms, f0 = draw_examples(self._dev, 8, self.mixing, rng)
            logits = average(torch.from_numpy(waveforms).to(device)).float()
            logits = logits.mean(1) if self.probe else logits  # of the resolutions, each with its reader
            figures.append(frame_counts(logits, torch.from_numpy(f0).to(device), self.network))
        frames, right, voiced, pitched, loss = np.sum(figures, axis=0).tolist()
        return {
            "loss": round(loss / len(figures), 4),
            "overall": round(100 * right / frames, 2),
            "pitch": round(100 * pitched / max(voiced, 1), 2),
        }

    def export(self, average: nn.Module) -> Path:
        """Write the averaged weights as a model folder, in half precision; of the 1-D CNN alone, its sorted kernels."""
        if not self.probe:
            about = {"name": self.name, **self.about}
            return checkpoint.save(average, self.output / "model", dtype=torch.float16, **about)
        stage1 = average.stage1
        assert isinstance(stage1, Stage1)
        sort_kernels(stage1, self.network.sample_rate)
        torch.save(stage1.state_dict(), self.output / KERNELS_NAME)
        return self.output / KERNELS_NAME

    @cached_property
    def _found(self) -> list[Clip]:
        return find_clips(self.clips)

    @cached_property
    def _training(self) -> Clips:
        return Clips([clip for clip in self._found if clip.singer not in self.dev_singers])

    @cached_property
    def _dev(self) -> Clips | None:
        kept = [clip for clip in self._found if clip.singer in self.dev_singers]
        return Clips(kept) if kept else None


def pitch_loss(logits: Tensor, f0: Tensor, config: MelodyCNNConfig) -> Tensor:
    """Cross-entropy with a target that is a Gaussian of 25 cents around the pitch, or non-voice; a scalar, in nats.

    Args: logits (B, [resolutions,] T, 1 + bins); f0 (B, T) in Hz, 0 unvoiced. Frames of unknown pitch (NaN), and those
    whose pitch is outside the bins, do not count.
    """
    target, known = pitch_target(f0, config)
    if logits.dim() == 4:
        target, known = (values.unsqueeze(1).expand(*logits.shape[:3], *values.shape[2:]) for values in (target, known))
    entropy = -(target * logits.log_softmax(-1)).sum(-1)
    return (entropy * known).sum() / known.sum().clamp_min(1)


def pitch_target(f0: Tensor, config: MelodyCNNConfig) -> tuple[Tensor, Tensor]:
    """Probabilities (B, T, 1 + bins) and which frames are known (B, T), of f0 (B, T) in Hz."""
    place = 1200 / config.bin_cents * torch.log2(f0.nan_to_num().clamp_min(1e-3) / config.lowest_hz)
    voiced, inside = f0 > 0, (place > -0.5) & (place < config.bins - 0.5)
    distance = (place.unsqueeze(-1) - torch.arange(config.bins, device=f0.device)) * config.bin_cents
    pitch = torch.exp(-0.5 * (distance / SIGMA_CENTS) ** 2)
    pitch = pitch / pitch.sum(-1, keepdim=True).clamp_min(1e-6)
    sung = voiced.unsqueeze(-1)
    target = torch.cat([(~sung).to(pitch.dtype), torch.where(sung, pitch, 0.0)], -1)
    return target, (~f0.isnan() & (inside | ~voiced)).to(pitch.dtype)


def frame_counts(logits: Tensor, f0: Tensor, config: MelodyCNNConfig) -> tuple[float, ...]:
    """Known frames; those that are right (voicing at 0.5, pitch within 50 cents); voiced and pitched ones; the loss."""
    loss = float(pitch_loss(logits, f0, config))
    known, voiced = ~f0.isnan(), f0 > 0
    said = logits.softmax(-1)[..., 0] < 0.5
    hertz = config.lowest_hz * 2 ** (logits[..., 1:].argmax(-1) * config.bin_cents / 1200)
    close = 1200 * torch.log2(hertz / f0.clamp_min(1e-3)).abs() <= 50
    right = torch.where(voiced, said & close, ~said) & known
    return (*(float(count.sum()) for count in (known, right, voiced, voiced & close)), loss)
