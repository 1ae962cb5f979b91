"""A separator as a training task: random mixes of songs, both stages' estimates supervised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.errors import UsageError
from stemsplit.networks.contract import SeparatorConfig, Supervision, TrainableSeparator
from stemsplit.training.examples.mixes import OCTAVES, Batch, Library, Mixing, draw_batch
from stemsplit.training.examples.shelf import Shelf
from stemsplit.training.examples.songs import ACCOMPANIMENT, VOCALS, find_finished, find_songs, style_of
from stemsplit.training.losses import snr_loss, snr_loss_of
from stemsplit.training.schedule import Schedule
from stemsplit.training.task import network_of
from stemsplit.weights import checkpoint

DOMAINS = ("waveform", "spectrum")


@dataclass(frozen=True)
class Recipe:
    """A run: its data, network and schedule. Paths are relative to the recipe's working folder."""

    name: str
    songs: tuple[Path, ...]
    """Folders of songs with every stem."""
    network: SeparatorConfig
    mixing: Mixing
    schedule: Schedule
    output: Path
    architecture: str = "ts-bsmamba2"
    """The network's row in `networks.registry`."""
    about: dict[str, Any] = field(default_factory=dict)
    """What the exported model's config.json says of it: description, license, trained_on."""
    workers: int = 1
    """Processes that share each batch, on a CPU with several cores."""
    backing: tuple[Path, ...] = ()
    """Folders of recordings of which the accompaniment is known, and of some the vocals."""
    solo: tuple[Path, ...] = ()
    """Folders of vocals alone, which are laid over other songs' accompaniments."""
    loose: tuple[Path, ...] = ()
    """Folders of single stems of any name, which go where stems of different songs are mixed."""
    loss: str = "waveform"
    """What is compared with the stems: "waveform", or "spectrum", which spares the inverse transforms of training."""
    weights: str = ""
    """The model whose weights the run starts from, as a name or a path; "" for random ones."""
    dev_folder: tuple[Path, ...] = ()
    """Folders of the songs for the development score in the log."""
    dev_backing: tuple[Path, ...] = ()
    """Folders of accompaniments, for a score of their own: the voices of development songs sing over them."""
    dev_songs: int = 4
    """Where there is no `dev_folder`: so many songs at the head of the list are kept from training for it."""
    rescan_minutes: float = 0.0
    """Look for new songs this often, because somebody is still making them: a folder may be empty or not there yet,
    and a song counts as soon as it has its JSON file, which is written last. With 0, songs are looked for once."""
    save_minutes: float = 3.0
    log_steps: int = 10
    dev_steps: int = 200

    def __post_init__(self) -> None:
        if self.workers < 1 or self.schedule.batch_size % self.workers:
            raise ValueError(f"{self.workers} workers cannot share batches of {self.schedule.batch_size}")
        if self.loss not in DOMAINS:
            raise ValueError(f"loss is {' or '.join(DOMAINS)}, not {self.loss}")
        if self.mixing.equalise_db and self.loss != "spectrum":
            raise ValueError(f"equalise_db works on spectra: set loss to spectrum, not {self.loss}")
        if self.backing and (VOCALS not in self.network.stems or len(self.network.stems) < 2):
            raise ValueError(f"backing needs {VOCALS} and another stem, not {', '.join(self.network.stems)}")
        if self.rescan_minutes and not self.dev_folder:
            raise ValueError("rescan_minutes needs a dev_folder, because the list of songs has no head that stays")

    @property
    def crop_seconds(self) -> float:
        """Length of an example."""
        return self.mixing.crop_seconds

    def phases(self) -> Iterator[Recipe]:
        """Return the runs that make up this one: itself."""
        yield self

    @property
    def warm(self) -> bool:
        """Whether a fresh network is a trained one."""
        return bool(self.weights)

    def build(self) -> nn.Module:
        """Return a separator, fresh or with the weights to start from.

        Raises:
            UsageError: The weights are those of another network.
        """
        return network_of(self.architecture, self.network, self.weights)

    def draw(self, size: int, rng: np.random.Generator) -> Batch:
        """Random mixes."""
        return draw_batch(self._shelf.library(), self.network.stems, size, self.mixing, self.network.sample_rate, rng)

    def loss_of(self, network: TrainableSeparator, *batch: Tensor) -> Tensor:
        """Return the loss in dB on a `data.Batch`, or its first array alone; merged items count as vocals and rest."""
        stems, merged, octaves = (*batch, None, None)[:3]
        assert stems is not None
        gains = partial(filter_gains, octaves) if octaves is not None and self.mixing.equalise_db else None
        fold = fold_of(merged, self.network.stems)
        supervision = Supervision(self.loss == "spectrum", self.schedule.masked_weight, gains, fold)
        with torch.autocast(stems.device.type, torch.bfloat16, enabled=self.schedule.precision == "bf16"):
            pairs = network.training_pairs(stems, supervision)
        silent = self.schedule.silent_weight
        losses = [pair.weight * snr_loss_of(pair.error, pair.reference, pair.mixture, silent) for pair in pairs]
        return torch.stack(losses).sum()

    @torch.inference_mode()
    def dev(self, average: nn.Module, device: torch.device) -> dict[str, float]:
        """Each stem's loss (dB, lower is better) on fixed crops of songs that are not trained on.

        `loss` is the stems' mean. Where songs name a style, `STYLE/STEM` is the loss of that style's songs.
        `backing/vocals` and `backing/accompaniment` are those of voices over the accompaniments of `dev_backing`.
        """
        scores: dict[str, list[float]] = {stem: [] for stem in self.network.stems}
        for index, song in enumerate(self._dev_songs):
            style = style_of(song)
            for crop in (2 * index, 2 * index + 1):
                for stem, value in self._dev_losses(average, song, crop, device):
                    scores[stem].append(value)
                    if style:
                        scores.setdefault(f"{style}/{stem}", []).append(value)
        for index, folder in enumerate(self._dev_backing):
            for part, value in self._backing_losses(average, folder, index, device):
                scores.setdefault(f"backing/{part}", []).append(value)
        figures = {name: round(float(np.mean(values)), 3) for name, values in scores.items() if values}
        if whole := [figures[stem] for stem in self.network.stems if stem in figures]:
            figures["loss"] = round(float(np.mean(whole)), 4)
        return figures

    def _dev_losses(
        self, average: nn.Module, song: Path, crop: int, device: torch.device
    ) -> Iterator[tuple[str, float]]:
        """Yield the loss of every stem that sounds in a crop, whose number decides where it is."""
        rng = np.random.default_rng((self.schedule.seed, 10**9 + crop))
        batch = draw_batch(Library([song]), self.network.stems, 1, self._still, self.network.sample_rate, rng)
        reference = torch.from_numpy(batch.stems).to(device)
        mixture = reference.sum(1)
        yield from _losses(self.network.stems, average(mixture), reference, mixture)

    def _backing_losses(
        self, average: nn.Module, folder: Path, index: int, device: torch.device
    ) -> Iterator[tuple[str, float]]:
        """Yield the loss of vocals and accompaniment, in a crop of a development song's voice over an accompaniment."""
        rng = np.random.default_rng((self.schedule.seed, 2 * 10**9 + index))
        over = replace(self._still, backing=1.0, own_voice=0.0)
        library = Library(self._dev_songs, [folder])
        batch = draw_batch(library, self.network.stems, 1, over, self.network.sample_rate, rng)
        stems = torch.from_numpy(batch.stems).to(device)
        mixture, voice = stems.sum(1), self.network.stems.index(VOCALS)
        voices = [part[:, voice] for part in (average(mixture), stems)]
        estimate, reference = (torch.stack([sung, mixture - sung], dim=1) for sung in voices)
        yield from _losses((VOCALS, ACCOMPANIMENT), estimate, reference, mixture)

    @property
    def _still(self) -> Mixing:
        """How songs are cut for the development score: as they are."""
        return Mixing(crop_seconds=self.mixing.crop_seconds, in_song=1.0, dropout=0.0, swap=0.0)

    def export(self, average: nn.Module) -> Path:
        """Write the averaged weights as a model folder, in half precision."""
        about = {"name": self.name, **self.about}
        return checkpoint.save(average, self.output / "model", dtype=torch.float16, **about)

    @cached_property
    def _songs(self) -> list[Path]:
        return list(chain.from_iterable(find_songs(folder, self.network.stems) for folder in self.songs))

    @cached_property
    def _dev_songs(self) -> list[Path]:
        if self.dev_folder:
            return list(chain.from_iterable(find_songs(folder, self.network.stems) for folder in self.dev_folder))
        return self._songs[: self.dev_songs]

    @cached_property
    def _dev_backing(self) -> list[Path]:
        """Folders that are not there yet are left out."""
        return [song for folder in self.dev_backing for song in find_finished(folder, (ACCOMPANIMENT,))]

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf(self._found if self.rescan_minutes else self._listed, self.rescan_minutes)

    def _listed(self) -> Library:
        """Return the songs of folders that stay as they are."""
        kept = 0 if self.dev_folder else self.dev_songs  # a folder that grows keeps its first songs
        backing = [find_songs(folder, (ACCOMPANIMENT,), made_by="real_songs.py") for folder in self.backing]
        solo = [find_songs(folder, (VOCALS,)) for folder in self.solo]
        loose = [song for folder in self.loose for song in find_finished(folder, ())]
        return Library(self._songs[kept:], list(chain.from_iterable(backing)), list(chain.from_iterable(solo)), loose)

    def _found(self) -> Library:
        """Return the songs that are finished by now in folders that grow.

        Raises:
            UsageError: There is none with every stem.
        """
        wanted = (
            (self.songs, self.network.stems), (self.backing, (ACCOMPANIMENT,)), (self.solo, (VOCALS,)), (self.loose, ())
        )  # fmt: skip
        lists = [[song for folder in folders for song in find_finished(folder, names)] for folders, names in wanted]
        if not lists[0]:
            folders = ", ".join(map(str, self.songs))
            raise UsageError(f"no finished songs in {folders}: see recipes/render_songs.py --help")
        return Library(*lists)


def filter_gains(octaves: Tensor, frequencies: Tensor) -> Tensor:
    """Return the factor (…, F) at every frequency (F,) in Hz.

    `octaves` are gains in dB (…, len(OCTAVES)) at the frequencies `OCTAVES`; between them they are linear over log Hz.
    """
    places = np.log2(np.maximum(frequencies.numpy(), OCTAVES[0]) / OCTAVES[0]).clip(0, len(OCTAVES) - 1)
    hats = np.maximum(1 - np.abs(places - np.arange(len(OCTAVES))[:, None]), 0)
    return 10 ** (octaves @ torch.from_numpy(hats).to(octaves) / 20)


def fold_of(merged: Tensor | None, stems: tuple[str, ...]) -> Tensor | None:
    """Return matrices (B, S, S) that sum all stems but the vocals where merged (B,), as in `data.Batch`."""
    if merged is None or (merged.device.type == "cpu" and not merged.any()):  # elsewhere, to ask is to wait
        return None
    rest = [k for k, stem in enumerate(stems) if stem != VOCALS]
    each = torch.eye(len(stems), device=merged.device)
    fold = each.clone()
    fold[rest] = 0
    fold[rest[0], rest] = 1
    return torch.where(merged.view(-1, 1, 1), fold, each)


def _losses(names: Sequence[str], estimate: Tensor, reference: Tensor, mixture: Tensor) -> Iterator[tuple[str, float]]:
    """Yield the loss of every part that sounds; (1, parts, C, samples) and their mixture."""
    for k, name in enumerate(names):
        if reference[:, k].abs().max() > 0:
            one = slice(k, k + 1)
            yield name, float(snr_loss(estimate[:, one], reference[:, one], mixture))
