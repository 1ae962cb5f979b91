"""The interfaces of networks, of their configs, and of backends. Other folders rely on these alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.rules import Rule, broken_rule

Self = TypeVar("Self", bound="Config")


@dataclass(frozen=True)
class Config:
    """The base class of all configs: a frozen dataclass of JSON values, with tuples instead of lists.

    A subclass says in `rules` what each setting may be, and in `misfits` how settings have to fit one another. Both are
    checked whenever a config is made, so that a network is built only of sizes that make sense.
    """

    rules: ClassVar[Mapping[str, Rule]] = {}

    def __post_init__(self) -> None:
        problem = broken_rule(self.rules, vars(self)) or next(self.misfits(), None)
        if problem is not None:
            raise ValueError(problem)

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together, in one line each. The settings keep their rules already."""
        yield from ()

    def least_tensors(self) -> int:
        """Return how many tensors the weights of such a network have, or a lower bound that is not far from it."""
        return 1

    plain_chunks: ClassVar[bool] = False
    centred_chunks: ClassVar[bool] = False
    levelled: ClassVar[bool] = False
    one_chunk_on_cpu: ClassVar[bool] = False

    @classmethod
    def from_dict(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """Build a config from JSON values. Raises: ValueError for an unknown name, or values that are not allowed."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"unknown settings {', '.join(name[:40] for name in unknown[:5])}")
        if problem := broken_rule(cls.rules, values):
            raise ValueError(problem)
        return cls(**{name: _frozen(value) for name, value in values.items()})

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values that `from_dict` builds this config from."""
        return {field.name: _thawed(getattr(self, field.name)) for field in fields(self)}


def _frozen(value: Any) -> Any:
    """Return a value with tuples instead of lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    """Return a value with lists instead of tuples."""
    return list(map(_thawed, value)) if isinstance(value, tuple) else value


class SeparatorConfig(Protocol):
    """What every separator's config states."""

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems, in the order of the network's output."""

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""

    @property
    def channels(self) -> int:
        """The most audio channels that the network takes at once."""

    @property
    def chunk_samples(self) -> int:
        """Samples of a chunk, unless the user chooses another length."""

    @property
    def overlap(self) -> float:
        """How much successive chunks overlap, as a fraction of a chunk, unless the user chooses."""

    @property
    def plain_chunks(self) -> bool:
        """Whether chunks are averaged where they overlap, and the ends are left alone, see `separation.chunks`."""

    @property
    def centred_chunks(self) -> bool:
        """Whether songs are cut as Demucs does it, see `separation.chunks`. None is longer than its own chunks then."""

    @property
    def levelled(self) -> bool:
        """Whether a song is brought to a mean of 0 and a deviation of 1 as a whole, see `separation.level`."""

    @property
    def one_chunk_on_cpu(self) -> bool:
        """Whether on a CPU all threads compute one chunk, because several at once would take too much memory."""

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest chunk that the network takes."""

    @property
    def thread_safe(self) -> bool:
        """Whether several threads may call the network at once."""

    @property
    def aligned(self) -> bool:
        """Whether a stem has the same place in the output for every chunk; if not, all channels are heard as one."""


class SeparatorNetwork(Protocol):
    """A separator: mixture (B, C, S) float32 → stems (B, K, C, S)."""

    @property
    def config(self) -> SeparatorConfig:
        """The config that the network was built from."""

    def __call__(self, mixture: Tensor, /) -> Tensor:
        """Return the stems (B, K, C, S) of a mixture (B, C, S)."""
        ...


class Supervision(NamedTuple):
    """How a recipe wants estimates to be compared with the true stems. A network may ignore what it has no use for."""

    spectra: bool = False
    """Compare spectra instead of waveforms, which saves the inverse transforms."""
    first_stage: float = 0.5
    """Weight of the first stage's estimate in the loss, for networks with two stages."""
    gains: Callable[[Tensor], Tensor] | None = None
    """Frequencies (F,) in Hz → factors (B, K, F) that the spectra of the true stems are multiplied by first."""
    fold: Tensor | None = None
    """Matrices (B, K, K) that the estimated stems are multiplied by before they are compared."""

    def folded(self, estimate: Tensor) -> Tensor:
        """Return estimated stems (B, K, …) multiplied by `fold`, if there is one."""
        return estimate if self.fold is None else torch.einsum("bij,bj...->bi...", self.fold, estimate)


class Pair(NamedTuple):
    """How far an estimate is from what it is compared with: sums of squares over all that is compared."""

    weight: float  # in the loss
    error: Tensor  # (B, K, …), of the estimate less the reference
    reference: Tensor  # (B, K, …)
    mixture: Tensor  # (B, …)

    @classmethod
    def of(cls, weight: float, estimate: Tensor, reference: Tensor, mixture: Tensor) -> Pair:
        """Compare an estimate and a reference (B, K, …, n) of a mixture (B, …, n) along the last axis."""
        energies = (values.square().sum(-1) for values in (estimate - reference, reference, mixture))
        return cls(weight, *energies)


class TrainableSeparator(Protocol):
    """A separator that can be trained."""

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Run the network on the sum of true stems (B, K, C, S), and return what is to be compared with what.

        The weights of the pairs add up to 1.
        """
        ...


class MelodyConfig(Protocol):
    """What every melody network's config states."""

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""

    @property
    def hop_samples(self) -> int:
        """Samples from frame to frame."""

    @property
    def lowest_hz(self) -> float:
        """Frequency of the first pitch bin."""

    @property
    def bin_cents(self) -> float:
        """Cents from one pitch bin to the next."""

    @property
    def bins(self) -> int:
        """Number of pitch bins."""

    @property
    def context_frames(self) -> int:
        """Frames on either side that the output of a frame depends on."""


class MelodyNetwork(Protocol):
    """A melody network: waveform (B, samples) float32 → logits (B, 1 + samples // hop, 1 + bins), non-voice first."""

    @property
    def config(self) -> MelodyConfig:
        """The config that the network was built from."""

    def __call__(self, waveform: Tensor, /) -> Tensor:
        """Return the logits (B, 1 + samples // hop, 1 + bins) of a waveform (B, samples)."""
        ...


class Backend(Protocol):
    """One way to compute layers at inference. See `backends.choose`."""

    name: str

    def missing(self, device: torch.device) -> str | None:
        """Return None if the backend works on this device, otherwise the reason in one line."""

    def bind(self, layer: nn.Module) -> Bound | None:
        """Return a function that computes a layer, or None if the backend has none for such a layer.

        The function keeps the weights that the layer has now. Later changes of the layer do not affect it.
        """
