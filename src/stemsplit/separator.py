"""A model made ready for one request, and what it makes of a source: blocks of the outputs, at any rate.

source blocks → the network's rate → stems → the wanted rate → outputs, in step with the mixture where one is needed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from stemsplit.audio import resample, resampled_length
from stemsplit.audio.info import Warn
from stemsplit.catalog import locate, verify
from stemsplit.checkpoint import load_separator
from stemsplit.device import choose_device, choose_precision
from stemsplit.download import Progress
from stemsplit.inference import Network
from stemsplit.options import SeparateOptions
from stemsplit.overlap_add import Chunking
from stemsplit.separate import chunking_for, separate_blocks
from stemsplit.stems import Output, mix_outputs, needs_mixture, select

SLACK_SAMPLES = 64  # what two conversions of the rate may add at the end


@dataclass(frozen=True)
class Model:
    """A network and where it came from. `sha256` is that of its weights."""

    reference: str
    sha256: str
    network: Network


@dataclass(frozen=True)
class Separator:
    """All that is the same for every track of a run."""

    model: Model
    outputs: tuple[Output, ...]
    chunking: Chunking
    device: torch.device
    precision: torch.dtype | None


@dataclass(frozen=True)
class Source:
    """Audio that can be read from its start more than once: float32 blocks (channels, n), rate in Hz."""

    blocks: Callable[[Warn | None], Iterator[np.ndarray]]
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class Rendered:
    """A block of every output (outputs, channels, n), and of the mixture (channels, n) if an output needs it."""

    outputs: np.ndarray
    mixture: np.ndarray | None


def load_model(reference: str, *, progress: Progress | None = None) -> Model:
    """Find or fetch a model, check its hash and load it.

    Raises: UnknownModelError, ModelError and its kinds.
    """
    files = locate(reference, progress=progress)
    return Model(reference, verify(files), load_separator(files))


def as_model(model: str | Path | Network) -> Model:
    """The model that a reference names, see `load_model`; or a network that the caller has, as a model."""
    if isinstance(model, (str, Path)):
        return load_model(str(model))
    return Model(type(model).__name__, "", model)


def make_separator(model: Model, options: SeparateOptions) -> Separator:
    """Choose outputs, chunks, device and precision.

    Raises: UsageError and its kinds.
    """
    config = model.network.config
    device = choose_device(options.device)
    return Separator(
        model,
        select(
            config.stems,
            stems=options.stems,
            two_stems=options.two_stems,
            mix=options.mix,
            exact_sum=options.exact_sum,
        ),
        chunking_for(
            config,
            chunk_seconds=options.chunk_seconds,
            overlap=options.overlap,
            batch_size=options.batch_size,
        ),
        device,
        choose_precision(options.precision, device),
    )


def render(
    separator: Separator,
    source: Source,
    sample_rate: int,
    *,
    on_progress: Callable[[float], object] | None = None,
    on_warning: Warn,
) -> Iterator[Rendered]:
    """Separate a source into blocks of the outputs at `sample_rate` (Hz), in bounded memory.

    Together they have exactly the samples of the source, or what `resampled_length` makes of them. `on_progress`
    is told the seconds of audio that are done.
    """
    stems = _stems(separator, source, sample_rate, on_progress, on_warning)
    if not needs_mixture(separator.outputs):
        for block in stems:
            yield Rendered(mix_outputs(separator.outputs, block), None)
        return
    again = source.blocks(None)  # a second decoder: holding the mixture back for the network would cost memory
    mixture = resample(again, source.sample_rate, sample_rate, source.channels)
    for block, mixed in _in_step(stems, mixture):
        yield Rendered(mix_outputs(separator.outputs, block, mixed), mixed)


def _stems(
    separator: Separator,
    source: Source,
    sample_rate: int,
    on_progress: Callable[[float], object] | None,
    on_warning: Warn,
) -> Iterator[np.ndarray]:
    """Blocks (K, channels, n) of the model's stems at `sample_rate`."""
    network, channels = separator.model.network, source.channels
    own_rate, count = network.config.sample_rate, len(network.config.stems)
    counted = _Counted(source.blocks(on_warning))
    stems = separate_blocks(
        network,
        resample(counted, source.sample_rate, own_rate, channels),
        channels=channels,
        chunking=separator.chunking,
        device=separator.device,
        precision=separator.precision,
        on_progress=None if on_progress is None else lambda samples: on_progress(samples / own_rate),
        on_warning=on_warning,
    )
    flat = (block.reshape(count * channels, -1) for block in stems)
    back = resample(flat, own_rate, sample_rate, count * channels)
    wanted = partial(resampled_length, rate_in=source.sample_rate, rate_out=sample_rate)
    for block in settled(back, count * channels, lambda: wanted(counted.samples)):
        yield block.reshape(count, channels, -1)


class _Counted:
    """An iterator that knows how many samples have passed."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.samples += block.shape[-1]
            yield block


def settled(blocks: Iterable[np.ndarray], rows: int, wanted: Callable[[], int]) -> Iterator[np.ndarray]:
    """Cut or pad a stream of blocks (rows, n) to a length that is known only when the stream ends.

    Raises: ValueError if it is off by more than conversions of the rate explain.
    """
    held = np.zeros((rows, 0), np.float32)
    passed = 0
    for block in blocks:
        held = np.concatenate([held, block], axis=-1)
        ready = max(0, held.shape[-1] - SLACK_SAMPLES)
        if ready:
            yield held[..., :ready]
            held = held[..., ready:]
            passed += ready
    missing = wanted() - passed
    if not 0 <= missing <= held.shape[-1] + SLACK_SAMPLES:
        raise ValueError(f"{passed + held.shape[-1]} samples came where {wanted()} were expected")
    if missing > held.shape[-1]:
        held = np.pad(held, ((0, 0), (0, missing - held.shape[-1])))
    if missing:
        yield held[..., :missing]


def _in_step(stems: Iterable[np.ndarray], mixture: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pair every block of stems (K, channels, n) with as many samples of the mixture (channels, n)."""
    held: list[np.ndarray] = []
    for block in stems:
        samples = block.shape[-1]
        while sum(part.shape[-1] for part in held) < samples:
            held.append(next(mixture))
        joined = np.concatenate(held, axis=-1)
        yield block, joined[:, :samples]
        held = [joined[:, samples:]]
