"""What networks, their configs and the backends promise one another: the only things that other folders rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from stemsplit.networks.layers.bindable import Bound

Self = TypeVar("Self", bound="Config")


@dataclass(frozen=True)
class Config:
    """Base of every architecture's config: a frozen dataclass of JSON values; lists are tuples here.

    A subclass refuses values out of range in `__post_init__`, by ValueError.
    """

    @classmethod
    def from_dict(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """Build from JSON values. Raises: ValueError for unknown names: a config never holds what nobody reads."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"unknown settings {', '.join(unknown)}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values that `from_dict` builds this config from."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class SeparatorConfig(Protocol):
    """What a separator says about itself."""

    @property
    def stems(self) -> tuple[str, ...]: ...  # in the order of the network's output
    @property
    def sample_rate(self) -> int: ...  # Hz
    @property
    def channels(self) -> int: ...  # the most that one pass takes
    @property
    def chunk_samples(self) -> int: ...
    @property
    def overlap(self) -> float: ...  # fraction of a chunk
    @property
    def shortest_samples(self) -> int: ...  # of a chunk
    @property
    def thread_safe(self) -> bool: ...  # whether several threads may call the network at once
    @property
    def aligned(self) -> bool: ...  # whether a stem has the same place in the output of every chunk


class SeparatorNetwork(Protocol):
    """Mixture (B, C, S) float32 → stems (B, K, C, S)."""

    @property
    def config(self) -> SeparatorConfig: ...
    def __call__(self, mixture: Tensor, /) -> Tensor: ...


class Supervision(NamedTuple):
    """How a recipe wants estimates to be compared with the true stems; a network minds what it can."""

    spectra: bool = False
    """Compare spectra instead of waveforms, which spares the inverse transforms."""
    first_stage: float = 0.5
    """Share of the first stage's estimate in the loss, where a network has two."""
    gains: Callable[[Tensor], Tensor] | None = None
    """Frequencies (F,) in Hz → factors (B, K, F) that the stems are still to be filtered by; for spectra."""


class Pair(NamedTuple):
    """An estimate and what it should be, (B, K, …, n), beside their mixture (B, …, n); its weight in the loss."""

    weight: float
    estimate: Tensor
    reference: Tensor
    mixture: Tensor


class TrainableSeparator(Protocol):
    """A separator that can be trained: it says what of it is compared with what."""

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Run the network on the sum of true stems (B, K, C, S); the weights of the pairs add up to 1."""
        ...


class MelodyConfig(Protocol):
    """What a melody network says about itself."""

    @property
    def sample_rate(self) -> int: ...  # Hz
    @property
    def hop_samples(self) -> int: ...
    @property
    def lowest_hz(self) -> float: ...  # of the first pitch bin
    @property
    def bin_cents(self) -> float: ...
    @property
    def bins(self) -> int: ...
    @property
    def context_frames(self) -> int: ...  # on either side, that a frame depends on


class MelodyNetwork(Protocol):
    """Waveform (B, samples) float32 → logits (B, 1 + samples // hop, 1 + bins), non-voice first."""

    @property
    def config(self) -> MelodyConfig: ...
    def __call__(self, waveform: Tensor, /) -> Tensor: ...


class Backend(Protocol):
    """One way to compute layers at inference."""

    name: str

    def missing(self, device: torch.device) -> str | None:
        """Return None if it works on this device here, else one line that says why not."""

    def bind(self, layer: nn.Module) -> Bound | None:
        """Pack a layer's weights as they are now; later changes are not seen. None: nothing for such a layer."""
