"""A model made ready for one request, and what it makes of a source: blocks of the outputs, at any rate.

source blocks → the network's rate → stems → the wanted rate → outputs, in step with the mixture where one is needed

What comes before the network is done ahead of it: see `machine.pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stemsplit.audio import Rechunker, Resampler, resample, resampled_length
from stemsplit.audio.info import Warn
from stemsplit.errors import UnknownStemError
from stemsplit.machine.device import choose_device, chunks_in_a_batch, chunks_side_by_side, precision_name
from stemsplit.machine.pipeline import ahead
from stemsplit.networks.backends.choose import precision_for
from stemsplit.networks.contract import SeparatorConfig, SeparatorNetwork
from stemsplit.options import SeparateOptions
from stemsplit.separation.chunks import Chunking
from stemsplit.separation.level import level_of
from stemsplit.separation.sides import voice_is_aside
from stemsplit.separation.source import Source
from stemsplit.separation.stems import Output, mix_outputs, needs_mixture, select
from stemsplit.separation.stream import chunking_for, separate_array, separate_blocks
from stemsplit.weights.model import Model

VOICE = "vocals"  # the stem, where a network has one
HEARD_RATE = 32000
"""A lower rate (Hz) leaves out what people hear."""
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

    @property
    def reference(self) -> str:
        """What a user calls the model."""
        return self.model.reference

    @property
    def sha256(self) -> str:
        """The hash of the model's weights."""
        return self.model.sha256

    @property
    def stems(self) -> tuple[str, ...]:
        """All stems of the model."""
        return self.model.network.config.stems

    @property
    def precision_name(self) -> str:
        """The precision of the products: fp32, bf16 or fp16."""
        return precision_name(self.precision)

    def about_model(self) -> dict[str, Any]:
        """Return what a manifest says of the model."""
        return {"reference": self.reference, "sha256": self.sha256, "stems": list(self.stems)}

    def chunk_settings(self) -> dict[str, Any]:
        """Return how a song is cut, as JSON values."""
        return {"chunk_samples": self.chunking.chunk_samples, "overlap": self.chunking.overlap}

    def rendered(
        self,
        source: Source,
        sample_rate: int,
        *,
        on_progress: Callable[[float], object] | None = None,
        on_warning: Warn,
        folder: Path | None = None,
    ) -> Generator[Rendered]:
        """Separate a source, see `render`. Nothing has to wait in `folder`."""
        return render(self, source, sample_rate, on_progress=on_progress, on_warning=on_warning)


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


def outputs_for(stems: Sequence[str], options: SeparateOptions) -> tuple[Output, ...]:
    """Return what a request makes of the stems of a model.

    Raises: UsageError and its kinds. Where the model lacks a stem, the error names the models that have it.
    """
    try:
        return select(
            stems,
            stems=options.stems,
            two_stems=options.two_stems,
            without=options.without,
            mix=options.mix,
            exact_sum=options.exact_sum,
        )
    except UnknownStemError as error:
        raise UnknownStemError(f"{error}; {_who_has(error.stem)}", error.stem) from error


def make_separator(model: Model[SeparatorNetwork], options: SeparateOptions) -> Separator:
    """Choose outputs, chunks, device and precision.

    Raises: UsageError and its kinds.
    """
    config = model.network.config
    device = choose_device(options.device)
    alone = device.type == "cpu" and config.one_chunk_on_cpu
    return Separator(
        model,
        outputs_for(config.stems, options),
        chunking_for(
            config,
            chunk_seconds=options.chunk_seconds,
            overlap=options.overlap,
            batch_size=chunks_in_a_batch(device, options.batch_size),
        ),
        device,
        precision_for(model.network, options.precision, device),
        1 if alone else chunks_side_by_side(device, shareable_parameters(model.network)),
    )


def _who_has(stem: str) -> str:
    """Return which models of the catalog have a stem, and how to take one; else which stems there are."""
    from stemsplit.weights.catalog import list_models

    cards = list_models()
    if names := [card.name for card in cards if stem.casefold() in map(str.casefold, card.stems)]:
        return f"{stem} is a stem of {', '.join(names)}: add --model {names[0]}"
    known = sorted({name for card in cards for name in card.stems})
    return f"no model of the catalog has it; their stems: {', '.join(known)}"


def render(
    separator: Separator,
    source: Source,
    sample_rate: int,
    *,
    on_progress: Callable[[float], object] | None = None,
    on_warning: Warn,
) -> Generator[Rendered]:
    """Separate a source into blocks of the outputs at `sample_rate` (Hz), in bounded memory.

    Together they have exactly the samples of the source, or what `resampled_length` makes of them. `on_progress`
    is told the seconds of audio that are done. Decoding goes on ahead, in a thread of its own.
    """
    network, passed = separator.model.network, _Passed()
    own_rate = network.config.sample_rate
    if limits := limits_of(network.config, source):
        on_warning(f"{separator.model.reference} {limits}")

    def mixture(warn: Warn) -> Iterator[np.ndarray]:
        return resample(passed.counted(source.blocks(warn)), source.sample_rate, own_rate, source.channels)

    apart = _is_apart(separator, source, on_warning)
    level = None
    if network.config.levelled:  # its warnings come again
        level = level_of(resample(source.blocks(None), source.sample_rate, own_rate, source.channels))
    finish = _Finish(separator, source, sample_rate)
    with ahead(mixture, on_warning) as blocks:
        for stems in separate_blocks(
            network,
            blocks,
            channels=source.channels,
            chunking=separator.chunking,
            device=separator.device,
            precision=separator.precision,
            side_by_side=separator.side_by_side,
            apart=apart,
            level=level,
            on_progress=None if on_progress is None else lambda samples: on_progress(samples / own_rate),
            on_warning=on_warning,
        ):
            yield from finish.push(stems)
        yield from finish.end(resampled_length(passed.samples, source.sample_rate, sample_rate))


def _is_apart(separator: Separator, source: Source, on_warning: Warn) -> bool:
    """Return whether the channels of a source are separated one by one, and say what is odd about them. See `sides`."""
    config = separator.model.network.config
    if config.channels < 2 or source.channels != 2:
        return False

    def infer(mixture: np.ndarray) -> np.ndarray:
        # Its warnings will come again.
        return separate_array(
            separator.model.network,
            mixture[0],
            chunking=separator.chunking,
            device=separator.device,
            precision=separator.precision,
            on_warning=lambda text: None,
        )[None]

    voice = config.stems.index(VOICE) if VOICE in config.stems else None
    return voice_is_aside(source, infer, voice=voice, sample_rate=config.sample_rate, on_warning=on_warning)


def limits_of(config: SeparatorConfig, source: Source) -> str:
    """Say what the stems of a source lack of it; "" where nothing is lost that can be heard."""
    lost = []
    if config.sample_rate < min(HEARD_RATE, source.sample_rate):
        lost.append(f"works at {config.sample_rate} Hz: its stems hold nothing above {config.sample_rate // 2} Hz")
    if not config.aligned and source.channels > config.channels:
        lost.append(f"hears one channel: its stems are the same in all {source.channels}")
    return ", and ".join(lost)


class _Passed:
    """Counts the samples of a source as they pass."""

    def __init__(self) -> None:
        self.samples = 0

    def counted(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += block.shape[-1]
            yield block


class _Finish:
    """Makes outputs at the wanted rate of the model's stems, which are handed to it block by block."""

    def __init__(self, separator: Separator, source: Source, sample_rate: int) -> None:
        self._outputs, self._channels = separator.outputs, source.channels
        config = separator.model.network.config
        self._rows = len(config.stems) * source.channels
        self._resampler = Resampler(config.sample_rate, sample_rate, self._rows)
        self._settling = Settling(self._rows)
        self._mixture: Rechunker | None = None
        if needs_mixture(separator.outputs):
            again = source.blocks(None)  # a second decoder: holding the mixture back for the network would cost memory
            self._mixture = Rechunker(resample(again, source.sample_rate, sample_rate, source.channels))

    def push(self, stems: np.ndarray) -> Iterator[Rendered]:
        """Take stems (K, channels, n) at the network's rate."""
        for piece in self._resampler.pieces(stems.reshape(self._rows, -1)):
            yield from self._mixed(self._settling.push(piece))

    def end(self, samples: int) -> Iterator[Rendered]:
        """Yield what is left of so many samples at the wanted rate."""
        yield from self._mixed(self._settling.push(self._resampler.finish()))
        yield from self._mixed(self._settling.end(samples))

    def _mixed(self, rows: np.ndarray) -> Iterator[Rendered]:
        """Yield outputs of stems (K · channels, n), and as many samples of the mixture where it is needed."""
        if not (count := rows.shape[-1]):
            return
        stems = rows.reshape(-1, self._channels, count)
        mixture = None if self._mixture is None else self._mixture.take(count)
        yield Rendered(mix_outputs(self._outputs, stems, mixture), mixture)


class Settling:
    """Cuts or pads a stream of blocks (rows, n) to a length that is known only when the stream ends."""

    def __init__(self, rows: int) -> None:
        self._held, self._passed = np.zeros((rows, 0), np.float32), 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block and return what is certain by now, (rows, n) with n ≥ 0."""
        self._held = np.concatenate([self._held, block], axis=-1)
        ready = max(0, self._held.shape[-1] - SLACK_SAMPLES)
        found, self._held = self._held[..., :ready], self._held[..., ready:]
        self._passed += ready
        return found

    def end(self, wanted: int) -> np.ndarray:
        """Return the rest, (rows, n) with n ≥ 0, of so many samples in all.

        Raises: ValueError if the stream is off by more than conversions of the rate explain.
        """
        held, missing = self._held.shape[-1], wanted - self._passed
        if not 0 <= missing <= held + SLACK_SAMPLES:
            raise ValueError(f"{self._passed + held} samples came where {wanted} were expected")
        return np.pad(self._held, ((0, 0), (0, max(0, missing - held))))[..., :missing]
