"""Blocks of outputs → files or a pipe: one gain for all stems of a track, or an exact sum, and their levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stemsplit.audio import Spool, StemWriter, Tags, shared_gain, write_stream
from stemsplit.audio.formats import FULL_SCALE
from stemsplit.audio.info import Warn
from stemsplit.audio.wav import quantize
from stemsplit.options import Clip
from stemsplit.separator import Rendered
from stemsplit.staging import new_folders_removed_on_error
from stemsplit.stems import Output, fold_residual

SILENT_PEAK = 1e-5  # −100 dBFS: below the last bit of 16


@dataclass(frozen=True)
class Form:
    """How the stems of a track are written. `frames` is None while it is not known."""

    format: str
    bit_depth: str
    sample_rate: int  # Hz
    channels: int
    frames: int | None = None
    clip: Clip = "rescale"
    exact_sum: bool = False


@dataclass(frozen=True)
class Levels:
    """What was written: samples per channel, the gain that all stems got, the largest absolute sample of each."""

    frames: int
    gain: float
    peaks: Mapping[str, float]


def write_files(
    rendered: Iterable[Rendered],
    outputs: Sequence[Output],
    targets: Mapping[str, Path],
    form: Form,
    *,
    tags: Mapping[str, Tags] | None = None,
    on_warning: Warn,
) -> Levels:
    """Write every output to its target: all of them appear at the end, or none and no new folder.

    Raises: OutputError.
    """
    with new_folders_removed_on_error(targets.values()), ExitStack() as stack:
        writers = [stack.enter_context(_writer(targets[o.name], form, (tags or {}).get(o.name))) for o in outputs]
        final = Final(rendered, outputs, form, stack, folder=next(iter(targets.values())).parent)
        for blocks in final:
            for writer, block in zip(writers, blocks, strict=True):
                writer.write(block)
        for output, writer in zip(outputs, writers, strict=True):
            if writer.clamped:
                on_warning(f"{output.name}: {writer.clamped} samples beyond full scale were cut to it")
    return final.report(on_warning)


def write_pipe(
    stream: BinaryIO,
    rendered: Iterable[Rendered],
    outputs: Sequence[Output],
    form: Form,
    *,
    raw: bool,
    on_warning: Warn,
) -> bool:
    """Write the only output to a pipe as WAV, or as bare samples; False if its reader went away.

    Raises: OutputError.
    """
    with ExitStack() as stack:
        final = Final(rendered, outputs, form, stack, folder=None)
        blocks = (block[0] for block in final)
        complete = write_stream(
            stream, blocks, form.sample_rate, form.channels, form.bit_depth, frames=form.frames, raw=raw
        )
    if complete:
        final.report(on_warning)
    return complete


class Final:
    """Blocks (outputs, channels, n) just as they go into the files; levels are known when all have passed.

    Where an integer or lossy format could clip, everything waits on disk until the one gain is known.
    """

    def __init__(
        self,
        rendered: Iterable[Rendered],
        outputs: Sequence[Output],
        form: Form,
        stack: ExitStack,
        *,
        folder: Path | None,
    ) -> None:
        self.outputs, self.form = outputs, form
        self.gain, self.frames = 1.0, 0
        self.peaks = np.zeros(len(outputs))
        self._rendered = rendered
        self._spool = form.clip == "rescale" and form.bit_depth != "32f"
        self._stack, self._folder = stack, folder

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._with_one_gain() if self._spool else self._rendered:
            final = self._finished(block)
            self.frames += final.shape[-1]
            if final.size:
                self.peaks = np.maximum(self.peaks, np.abs(final).max(axis=(1, 2)))
            yield final

    def report(self, on_warning: Warn) -> Levels:
        """The levels, and a warning where they are not what one expects."""
        if self.gain != 1.0:
            decibels = -20 * math.log10(self.gain)
            bits = f"{self.form.bit_depth} bits" if self.form.bit_depth.isdigit() else self.form.format
            on_warning(
                f"all stems were turned down by {decibels:.2f} dB, so that none clips in {bits}: "
                "--bit-depth 32f keeps the levels"
            )
        peaks = {output.name: float(peak) for output, peak in zip(self.outputs, self.peaks, strict=True)}
        silent = [name for name, peak in peaks.items() if peak < SILENT_PEAK]
        if silent:
            on_warning(f"silent: {', '.join(silent)}")
        return Levels(self.frames, self.gain, peaks)

    def _with_one_gain(self) -> Iterator[Rendered]:
        spools = [self._stack.enter_context(Spool(self.form.channels, self._folder)) for _ in self.outputs]
        mixture = self._stack.enter_context(Spool(self.form.channels, self._folder)) if self.form.exact_sum else None
        for block in self._rendered:
            for spool, samples in zip(spools, block.outputs, strict=True):
                spool.write(samples)
            if mixture is not None and block.mixture is not None:
                mixture.write(block.mixture)
        self.gain = shared_gain(max(spool.peak for spool in spools) + self._margin(), self.form.bit_depth)
        streams = [spool.blocks(gain=self.gain) for spool in spools]
        mixtures = mixture.blocks(gain=self.gain) if mixture is not None else None
        for parts in zip(*streams, strict=True):
            yield Rendered(np.stack(parts), None if mixtures is None else next(mixtures))

    def _margin(self) -> float:
        """Room for the roundings of all stems, which with an exact sum end up in one of them."""
        return (len(self.outputs) + 1) / FULL_SCALE[self.form.bit_depth] if self.form.exact_sum else 0.0

    def _finished(self, block: Rendered) -> np.ndarray:
        samples = block.outputs
        if self.form.exact_sum:
            assert block.mixture is not None
            samples = fold_residual(self.outputs, self._on_grid(samples), self._on_grid(block.mixture))
        return np.clip(samples, -1.0, 1.0) if self.form.clip == "clamp" else samples

    def _on_grid(self, samples: np.ndarray) -> np.ndarray:
        """Rounded to what the format can hold."""
        if self.form.bit_depth not in FULL_SCALE:
            return samples
        integers, _ = quantize(samples, self.form.bit_depth)
        return (integers / FULL_SCALE[self.form.bit_depth]).astype(np.float32)


def _writer(target: Path, form: Form, tags: Tags | None) -> StemWriter:
    return StemWriter(
        target, form.sample_rate, form.channels, form.format, form.bit_depth, frames=form.frames, tags=tags
    )
