"""A network of two speakers as a training task: mixtures drawn on the fly, speakers compared in the order that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.networks.contract import SeparatorConfig
from stemsplit.networks.orders import in_best_order
from stemsplit.training.examples.speakers import (
    Example,
    SpeakerMixing,
    Voices,
    draw_example,
    draw_speakers,
    find_speakers,
    load_voices,
    read_names,
    sexes_of,
)
from stemsplit.training.losses import snr_loss
from stemsplit.training.schedule import Schedule
from stemsplit.training.task import network_of
from stemsplit.weights import checkpoint

RECORDED_RATE = 16000
"""Recordings are kept at this rate (Hz), or at the network's if that is higher."""
DEV_SECONDS = 5.0


@dataclass(frozen=True)
class SpeakersRecipe:
    """A run: its data, network and schedule. Paths are relative to the recipe's working folder."""

    name: str
    speakers: tuple[Path, ...]
    """Folders with a folder of recordings per speaker somewhere in them."""
    network: SeparatorConfig
    mixing: SpeakerMixing
    schedule: Schedule
    output: Path
    heldout: Path
    """A list of the speakers that are not trained on, see `examples.speakers.read_names`."""
    rooms: Path | None = None
    """A folder of impulse responses."""
    architecture: str = "s4m"
    """The network's row in `networks.registry`."""
    about: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    """The model whose weights the run starts from, as a name or a path; "" for random ones."""
    workers: int = 1
    """Processes that share each batch, on a CPU with several cores."""
    dev_mixtures: int = 24
    """Mixtures of speakers who are held out, for the development score in the log."""
    save_minutes: float = 3.0
    log_steps: int = 20
    dev_steps: int = 500

    def __post_init__(self) -> None:
        if self.workers < 1 or self.schedule.batch_size % self.workers:
            raise ValueError(f"{self.workers} workers cannot share batches of {self.schedule.batch_size}")
        if len(self.network.stems) != 2:
            raise ValueError(f"examples have two speakers, not {len(self.network.stems)}")

    @property
    def crop_seconds(self) -> float:
        """Length of an example."""
        return self.mixing.crop_seconds

    def phases(self) -> Iterator[SpeakersRecipe]:
        """Return the runs that make up this one: itself."""
        yield self

    @property
    def warm(self) -> bool:
        """Whether a fresh network is a trained one."""
        return bool(self.weights)

    def build(self) -> nn.Module:
        """Return a network, fresh or with the weights to start from; see `network_of`."""
        return network_of(self.architecture, self.network, self.weights)

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Random examples: speakers (size, 2, 1, samples), and mixtures (size, 1, samples)."""
        return draw_speakers(self._voices, size, self.mixing, self.network.sample_rate, rng)

    def loss_of(self, network: Callable[[Tensor], Tensor], speakers: Tensor, mixture: Tensor) -> Tensor:
        """Return the negative SNR in dB of the speakers, in the order that is best for each example."""
        with torch.autocast(mixture.device.type, torch.bfloat16, enabled=self.schedule.precision == "bf16"):
            estimate = network(mixture)
        ordered = in_best_order(estimate.float(), speakers)
        return snr_loss(ordered, speakers, mixture, self.schedule.silent_weight)

    @torch.inference_mode()
    def dev(self, average: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the loss, and the median improvement of the SI-SDR in dB, on fixed mixtures of held-out speakers.

        `si_sdri_same` and `si_sdri_other` are those of two people of the same sex, and of two of different ones.
        """
        losses, gains = [], []
        for example in self._dev_examples:
            speakers, mixture = (torch.from_numpy(part)[None].to(device) for part in example)
            estimate = in_best_order(average(mixture), speakers)
            losses.append(float(snr_loss(estimate, speakers, mixture)))
            gains.append(float((si_sdr(estimate, speakers) - si_sdr(mixture.unsqueeze(1), speakers)).mean()))
        figures = {"si_sdri": gains}
        for name, same in (("si_sdri_same", True), ("si_sdri_other", False)):
            figures[name] = [gain for gain, known in zip(gains, self._dev_same, strict=True) if known is same]
        medians = {name: round(float(np.median(values)), 2) for name, values in figures.items() if values}
        return {"loss": round(float(np.mean(losses)), 4), **medians}

    def export(self, average: nn.Module) -> Path:
        """Write the averaged weights as a model folder, in half precision."""
        about = {"name": self.name, **self.about}
        return checkpoint.save(average, self.output / "model", dtype=torch.float16, **about)

    @property
    def _rate(self) -> int:
        return max(RECORDED_RATE, self.network.sample_rate)

    @cached_property
    def _heldout(self) -> tuple[str, ...]:
        return read_names(self.heldout)

    @cached_property
    def _voices(self) -> Voices:
        return load_voices(find_speakers(self.speakers, without=self._heldout), self._rate, self.rooms)

    @cached_property
    def _dev_voices(self) -> Voices:
        everyone = find_speakers(self.speakers)
        return load_voices({name: everyone[name] for name in self._heldout if name in everyone}, self._rate)

    @cached_property
    def _dev_pairs(self) -> list[tuple[int, int]]:
        """The pairs of held-out speakers that are mixed, as many of the same sex as of different ones if possible."""
        rng = np.random.default_rng((self.schedule.seed, 10**9))
        sexes = sexes_of(self.speakers)
        names = [speaker.name for speaker in self._dev_voices.speakers]
        pairs = list(combinations(range(len(names)), 2))
        shuffled = [pairs[index] for index in rng.permutation(len(pairs))]
        same = [pair for pair in shuffled if sexes.get(names[pair[0]], "") == sexes.get(names[pair[1]], "")]
        other = [pair for pair in shuffled if pair not in same]
        alternating = [pair for both in zip(same, other, strict=False) for pair in both]
        return (alternating or shuffled)[: self.dev_mixtures]

    @cached_property
    def _dev_same(self) -> list[bool | None]:
        """Whether both speakers of a pair have the same sex; None where it is not known."""
        sexes, speakers = sexes_of(self.speakers), self._dev_voices.speakers
        known = [tuple(sexes.get(speakers[index].name) for index in pair) for pair in self._dev_pairs]
        return [None if None in pair else pair[0] == pair[1] for pair in known]

    @cached_property
    def _dev_examples(self) -> list[Example]:
        """Mixtures of two held-out speakers who talk all the time, dry and without noise, ±`level_db`."""
        plain = replace(
            self.mixing, crop_seconds=DEV_SECONDS, wide=0, speed=0, turns=0, talks=0, single=0, room=0, noise=0
        )
        samples, rate = round(DEV_SECONDS * self.network.sample_rate), self.network.sample_rate
        examples = []
        for index, pair in enumerate(self._dev_pairs):
            rng = np.random.default_rng((self.schedule.seed, 10**9 + 1 + index))
            chosen = Voices(tuple(self._dev_voices.speakers[one] for one in pair), self._rate)
            examples.append(draw_example(chosen, samples, plain, rate, rng))
        return examples


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Return the scale-invariant SDR in dB of estimates (…, n), without their means; see `evaluation.sdr`."""
    scale = (estimate * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True).clamp_min(1e-12)
    target = scale * reference
    error = (estimate - target).square().sum(-1)
    return 10 * torch.log10(target.square().sum(-1).clamp_min(1e-12) / error.clamp_min(1e-12))
