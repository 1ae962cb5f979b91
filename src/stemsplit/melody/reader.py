"""From a source of audio to its pitch contour, in bounded memory.

a voice:  source blocks ─────────────→ 16 kHz mono → posteriors ─────────────┬→ contour
a song:   source blocks → its vocals → 16 kHz mono → posteriors ─┬→ together ┘
          source blocks ─────────────→ 16 kHz mono → posteriors ─┘
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from stemsplit.audio import resample
from stemsplit.audio.formats import SILENT_PEAK
from stemsplit.audio.info import Warn
from stemsplit.machine.device import choose_device
from stemsplit.melody.contour import Contour
from stemsplit.melody.decode import Decoding, check_decoding, decode
from stemsplit.melody.octaves import Octaves
from stemsplit.melody.posterior import grid_of, posteriors, together
from stemsplit.networks.contract import MelodyNetwork
from stemsplit.options import MelodyOptions
from stemsplit.separation.placement import Channels, to_mono
from stemsplit.separation.separator import Rendered, Separator, render
from stemsplit.separation.source import Source
from stemsplit.weights.model import Model

THRESHOLD = 0.5
"""The probability from which on a frame is sung, if neither the user nor the model sets one."""


@dataclass(frozen=True)
class Reader:
    """What is the same for every track of a run. `separator` is None if the input is a voice alone."""

    model: Model[MelodyNetwork]
    separator: Separator | None
    decoding: Decoding
    device: torch.device


@dataclass(frozen=True)
class Reading:
    """A contour, and the length of its voice in samples at the network's rate."""

    contour: Contour
    samples: int


def decoding_for(model: Model[MelodyNetwork], options: MelodyOptions) -> Decoding:
    """Return the decoding for a request, with the model's own threshold unless the user chose one.

    Raises: UsageError.
    """
    config = model.network.config
    threshold = options.voicing_threshold
    if threshold is None:
        threshold = float(getattr(config, "voicing_threshold", THRESHOLD))
    decoding = Decoding(options.hop_ms, options.fmin, options.fmax, threshold, options.smooth)
    check_decoding(grid_of(config), decoding)
    return decoding


def make_reader(model: Model[MelodyNetwork], separator: Separator | None, options: MelodyOptions) -> Reader:
    """Return a reader for a request. `separator` must have the vocals among its outputs, and the drums for a tempo.

    Raises: UsageError and its kinds.
    """
    return Reader(model, separator, decoding_for(model, options), choose_device(options.device))


def listen(
    reader: Reader,
    source: Source,
    *,
    on_voice: Callable[[np.ndarray], object] = lambda samples: None,
    on_drums: Callable[[np.ndarray], object] = lambda samples: None,
    on_progress: Callable[[float], object] | None = None,
    on_warning: Warn,
) -> Reading:
    """Read the melody of a source.

    Args:
        reader: see `make_reader`.
        source: a song, or a voice if the reader has no separator.
        on_voice: called with every block (n,) of the voice at the network's sample rate.
        on_drums: called with every block (channels, n) of the drums at that rate, if the separator gives them too.
        on_progress: called with the seconds of audio that are done.
        on_warning: called with one sentence about each problem.

    Raises:
        AudioError: or one of its kinds; the source cannot be read.
        ModelError: a network gave no valid output.
        OutOfMemoryError: even the CPU has too little memory.
    """
    network = reader.model.network
    config = network.config
    with closing(_voice(reader, source, on_drums, on_progress, on_warning)) as blocks:  # its thread must end
        voice = _Heard(blocks, on_voice)
        octaves = Octaves(grid_of(config), config.sample_rate, config.hop_samples)
        rows = posteriors(network, voice, device=reader.device, correct=octaves.of_the_voice, on_warning=on_warning)
        if reader.separator is not None:  # the song is decoded a second time, since keeping it would cost memory
            mixture = _at_rate(source.blocks(None), source.sample_rate, config.sample_rate)
            heard = posteriors(
                network, mixture, device=reader.device, correct=octaves.of_the_song, on_warning=on_warning
            )
            rows = together(rows, heard)
        contour = decode(rows, grid_of(config), config.hop_samples / config.sample_rate, reader.decoding)
    if not contour.voiced.any():
        on_warning(_why_nothing(reader, voice.peak))
    return Reading(contour, voice.samples)


def _why_nothing(reader: Reader, peak: float) -> str:
    if peak < SILENT_PEAK:
        return "silent: nothing is sung" if reader.separator is None else "no vocals in it: nothing is sung"
    return f"nothing is sung, at a voicing threshold of {reader.decoding.threshold:g}"


class _Heard:
    """The blocks of a voice. While they are read, it counts their samples and finds their peak."""

    def __init__(self, blocks: Iterable[np.ndarray], tell: Callable[[np.ndarray], object]) -> None:
        self._blocks, self._tell = blocks, tell
        self.samples, self.peak = 0, 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.samples += len(block)
            self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
            self._tell(block)
            yield block


def _voice(
    reader: Reader,
    source: Source,
    on_drums: Callable[[np.ndarray], object],
    on_progress: Callable[[float], object] | None,
    on_warning: Warn,
) -> Generator[np.ndarray, None, None]:
    """Yield the voice as mono blocks (n,) at the network's sample rate."""
    rate = reader.model.network.config.sample_rate
    if reader.separator is not None:
        rendered = render(reader.separator, source, rate, on_progress=on_progress, on_warning=on_warning)
        for (samples,) in to_mono(_tapped(reader.separator, rendered, on_drums)):
            yield samples
        return
    done, channels = 0, Channels()
    for samples in _at_rate(_seen(source.blocks(on_warning), channels), source.sample_rate, rate):
        done += len(samples)
        yield samples
        if on_progress is not None:
            on_progress(done / rate)
    if (text := channels.found()) is not None:
        on_warning(text)


def _seen(blocks: Iterable[np.ndarray], channels: Channels) -> Iterator[np.ndarray]:
    for block in blocks:
        channels.look(block)
        yield block


def _tapped(
    separator: Separator, rendered: Iterable[Rendered], on_drums: Callable[[np.ndarray], object]
) -> Iterator[np.ndarray]:
    """Yield the vocals of each block; tell the drums, where the separator gives them."""
    names = [output.name for output in separator.outputs]
    for block in rendered:
        if "drums" in names:
            on_drums(block.outputs[names.index("drums")])
        yield block.outputs[names.index("vocals")]


def _at_rate(blocks: Iterable[np.ndarray], own_rate: int, rate: int) -> Iterator[np.ndarray]:
    """Yield blocks (channels, n) as mono blocks (n,) at `rate`."""
    for (samples,) in resample(to_mono(blocks), own_rate, rate, 1):
        yield samples
