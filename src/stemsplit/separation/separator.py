"""A model made ready for one request, and what it makes of a source: blocks of the outputs, at any rate.

source blocks → the network's rate → stems → the wanted rate → outputs, in step with the mixture where one is needed

What comes before the network is done ahead of it, and with `render_into` what comes after it behind it: see `stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from stemsplit.audio import resample, resampled_length
from stemsplit.audio.info import Warn
from stemsplit.machine.device import choose_device, choose_precision, chunks_side_by_side
from stemsplit.machine.pipeline import ahead, behind
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.options import SeparateOptions
from stemsplit.separation.chunks import Chunking
from stemsplit.separation.stems import Output, mix_outputs, needs_mixture, select
from stemsplit.separation.stream import chunking_for, separate_blocks
from stemsplit.weights.model import Model

R = TypeVar("R")

SLACK_SAMPLES = 64  # what two conversions of the rate may add at the end


@dataclass(frozen=True)
class Separator:
    """All that is the same for every track of a run."""

    model: Model[SeparatorNetwork]
    outputs: tuple[Output, ...]
    chunking: Chunking
    device: torch.device
    precision: torch.dtype | None
    side_by_side: int = 1
    """Chunks computed at once, see `device.chunks_side_by_side`."""


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


def shareable_parameters(network: SeparatorNetwork) -> int | None:
    """Parameters of a network that several threads may call at once; None of any other."""
    if not isinstance(network, torch.nn.Module) or not network.config.thread_safe:
        return None
    return sum(value.numel() for value in network.parameters())


def make_separator(model: Model[SeparatorNetwork], options: SeparateOptions) -> Separator:
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
        chunks_side_by_side(device, shareable_parameters(model.network)),
    )


def render(
    separator: Separator,
    source: Source,
    sample_rate: int,
    *,
    on_progress: Callable[[float], object] | None = None,
    on_warning: Warn,
) -> Generator[Rendered, None, None]:
    """Separate a source into blocks of the outputs at `sample_rate` (Hz), in bounded memory.

    Together they have exactly the samples of the source, or what `resampled_length` makes of them. `on_progress`
    is told the seconds of audio that are done.
    """
    with _stems(separator, source, on_progress, on_warning) as (stems, count):
        yield from _finished(separator, source, sample_rate, stems, count)


def render_into(
    consume: Callable[[Iterator[Rendered]], R],
    separator: Separator,
    source: Source,
    sample_rate: int,
    *,
    on_progress: Callable[[float], object] | None = None,
    on_warning: Warn,
) -> R:
    """What `consume` returns of the blocks that `render` yields, which it may be handed in a thread of its own."""
    with _stems(separator, source, on_progress, on_warning) as (stems, count):
        return behind(stems, lambda handed: consume(_finished(separator, source, sample_rate, handed, count)))


class _Count:
    """How many samples of the source have passed."""

    def __init__(self) -> None:
        self.samples = 0

    def over(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += block.shape[-1]
            yield block


@contextmanager
def _stems(
    separator: Separator, source: Source, on_progress: Callable[[float], object] | None, on_warning: Warn
) -> Iterator[tuple[Iterator[np.ndarray], _Count]]:
    """Blocks (K, channels, n) of the model's stems at the network's rate, and what they were made of."""
    network, count = separator.model.network, _Count()
    own_rate = network.config.sample_rate

    def mixture(warn: Warn) -> Iterator[np.ndarray]:
        return resample(count.over(source.blocks(warn)), source.sample_rate, own_rate, source.channels)

    with ahead(mixture, on_warning) as blocks:
        stems = separate_blocks(
            network,
            blocks,
            channels=source.channels,
            chunking=separator.chunking,
            device=separator.device,
            precision=separator.precision,
            side_by_side=separator.side_by_side,
            on_progress=None if on_progress is None else lambda samples: on_progress(samples / own_rate),
            on_warning=on_warning,
        )
        yield stems, count


def _finished(
    separator: Separator, source: Source, sample_rate: int, stems: Iterable[np.ndarray], count: _Count
) -> Iterator[Rendered]:
    """The model's stems → outputs at `sample_rate`."""
    stems = _at_rate(separator, source, sample_rate, stems, count)
    if not needs_mixture(separator.outputs):
        for block in stems:
            yield Rendered(mix_outputs(separator.outputs, block), None)
        return
    again = source.blocks(None)  # a second decoder: holding the mixture back for the network would cost memory
    mixture = resample(again, source.sample_rate, sample_rate, source.channels)
    for block, mixed in _in_step(stems, mixture):
        yield Rendered(mix_outputs(separator.outputs, block, mixed), mixed)


def _at_rate(
    separator: Separator, source: Source, sample_rate: int, stems: Iterable[np.ndarray], count: _Count
) -> Iterator[np.ndarray]:
    """Blocks (K, channels, n) from the network's rate to `sample_rate`, together exactly as long as the source."""
    config, channels = separator.model.network.config, source.channels
    rows = len(config.stems) * channels
    flat = (block.reshape(rows, -1) for block in stems)
    back = resample(flat, config.sample_rate, sample_rate, rows)
    for block in settled(back, rows, lambda: resampled_length(count.samples, source.sample_rate, sample_rate)):
        yield block.reshape(len(config.stems), channels, -1)


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
