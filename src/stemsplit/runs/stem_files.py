"""Blocks of outputs → files or a pipe: one gain for all stems of a track, or an exact sum, and their levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stemsplit.audio import PackWriter, StemWriter, Tags, format_named, shared_gain, write_stream
from stemsplit.audio.formats import FULL_SCALE, SILENT_PEAK
from stemsplit.audio.info import Warn
from stemsplit.audio.wav import quantize
from stemsplit.files.spool import Spool
from stemsplit.machine.cores import usable_cores
from stemsplit.machine.pipeline import Behind
from stemsplit.machine.together import Together
from stemsplit.options import PACK_STEMS, Clip
from stemsplit.runs.pace import Pace
from stemsplit.separation.separator import Rendered
from stemsplit.separation.stems import Output, fold_residual


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
    bitrate: int | None = None  # bit/s, see `encoding.bitrates`
    picture: tuple[Path, int | None] | None = None  # a video whose picture is kept, see `encoding.picture`


@dataclass(frozen=True)
class Levels:
    """What was written: samples per channel, the gain that all stems got, the largest absolute sample of each."""

    frames: int
    gain: float
    peaks: Mapping[str, float]


class StemFiles:
    """Where the blocks of a track go. `levels` are known when all files are complete."""

    levels: Levels

    def __init__(self, write: Callable[[Rendered], None]) -> None:
        self.write = write


@contextmanager
def stem_files(
    outputs: Sequence[Output],
    targets: Mapping[str, Path],
    form: Form,
    together: Together,
    *,
    tags: Mapping[str, Tags] | None = None,
    pace: Pace | None = None,
    on_warning: Warn,
) -> Iterator[StemFiles]:
    """Write every output aside; `together` gives them their names when all is there.

    Blocks are encoded in a thread of its own where there are cores for it. `pace` is told what encoding costs. Where
    all outputs go into one file, see `options.PACKS`, the only target is that, and the song is among them.

    Raises: OutputError.
    """
    pace, packed = pace or Pace(), format_named(form.format).packed
    names = list(targets) if packed else [output.name for output in outputs]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(_writer(targets[name], form, together, (tags or {}).get(name), on_warning))
            for name in names
        ]
        encode = _packing(writers[0], outputs) if packed else stack.enter_context(_encoding(writers))
        # With a core to spare stems are encoded before the gain is known: it hardly ever is another than 1.
        beside = usable_cores() > 1
        final = stack.enter_context(Final(outputs, form, folder=next(iter(targets.values())).parent, guess=beside))
        if not final.stands:
            pace.encode_afterwards()

        def take(block: Rendered) -> None:
            samples = final.take(block)
            if samples is None:
                pace.encode_afterwards()
                samples = block.outputs if pace.needs_trial else None
            if samples is not None:
                with pace.trying(samples.shape[-1] / form.sample_rate, beside=beside):
                    encode(samples)

        with Behind(take, pace.wait) as behind:
            files = StemFiles(behind.put)
            yield files
        if not final.stands:
            for writer in writers:
                writer.restart()
            for samples in final.again():
                encode(samples)
                pace.encoded(samples.shape[-1] / form.sample_rate)
        for name, writer in zip(names, writers, strict=True):
            if writer.clamped:
                on_warning(f"{name}: {writer.clamped} samples beyond full scale were cut to it")
    files.levels = final.report(on_warning)


@contextmanager
def _encoding(writers: Sequence[StemWriter]) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield what writes a block (outputs, channels, n), its stems at the same time where there are cores for it."""
    threads = min(usable_cores(), len(writers))
    with ThreadPoolExecutor(threads, thread_name_prefix="stemsplit-encode") as pool:
        each = map if threads == 1 else pool.map

        def encode(samples: np.ndarray) -> None:
            for _ in each(StemWriter.write, writers, samples):
                pass

        yield encode


def _packing(writer: StemWriter, outputs: Sequence[Output]) -> Callable[[np.ndarray], None]:
    """Return what writes a block (outputs, channels, n) into one file, in the order of its tracks."""
    from stemsplit.separation.beside import SONG  # few runs want it

    names = [output.name for output in outputs]
    order = [names.index(SONG.name), *(names.index(stem) for stem in PACK_STEMS)]
    return lambda samples: writer.write(samples[order])


def write_pipe(
    stream: BinaryIO,
    rendered: Iterable[Rendered],
    outputs: Sequence[Output],
    form: Form,
    *,
    raw: bool,
    on_warning: Warn,
) -> bool:
    """Write the only output to a pipe as WAV, or as bare samples; return False if its reader went away.

    Raises: OutputError.
    """
    with Final(outputs, form, folder=None, guess=False) as final:
        blocks = (block[0] for block in _all_of(final, rendered))
        first = list(islice(blocks, 1))
        frames = form.frames if final.kept_frames is None else final.kept_frames
        complete = write_stream(
            stream, chain(first, blocks), form.sample_rate, form.channels, form.bit_depth, frames=frames, raw=raw
        )
    if complete:
        final.report(on_warning)
    return complete


def _all_of(final: Final, rendered: Iterable[Rendered]) -> Iterator[np.ndarray]:
    """Yield every block once, with the right gain."""
    for block in rendered:
        if (samples := final.take(block)) is not None:
            yield samples
    if not final.stands:
        yield from final.again()


class Final:
    """Makes of blocks what goes into the files, (outputs, channels, n), and measures it; a context manager.

    Where an integer or lossy format could clip, everything is kept on disk until the one gain is known. With `guess`
    blocks are finished as they come nevertheless, for as long as nothing clips. What came of them `stands` if nothing
    clipped to the end; if not, they all come `again`.
    """

    def __init__(self, outputs: Sequence[Output], form: Form, *, folder: Path | None, guess: bool) -> None:
        self.outputs, self.form = outputs, form
        keeps = form.clip == "rescale" and form.bit_depth != "32f"
        self._kept = _Kept(outputs, form, folder) if keeps else None
        self.stands = guess or not keeps
        self._reset()

    def __enter__(self) -> Final:
        if self._kept is not None:
            self._kept.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._kept is not None:
            self._kept.__exit__(*error)

    @property
    def kept_frames(self) -> int | None:
        """How many samples are kept on disk, which is all of them when the first block comes; None if none are."""
        return None if self._kept is None else self._kept.frames

    def take(self, block: Rendered) -> np.ndarray | None:
        """Return a block as it goes into the files if all seems to stand, else None."""
        block = Rendered(_interleaved(block.outputs), block.mixture)
        if self._kept is not None:
            self._kept.write(block)
            self.stands = self.stands and self._kept.gain() == 1.0
        return self._finished(block) if self.stands else None

    def again(self) -> Iterator[np.ndarray]:
        """Yield all blocks from the start, with the one gain."""
        assert self._kept is not None
        self._reset(self._kept.gain())
        for block in self._kept.blocks(self.gain):
            yield self._finished(block)

    def _reset(self, gain: float = 1.0) -> None:
        self.gain, self.frames = gain, 0
        self.peaks = np.zeros(len(self.outputs))

    def report(self, on_warning: Warn) -> Levels:
        """Return the levels, and warn where they are not what one expects."""
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

    def _finished(self, block: Rendered) -> np.ndarray:
        samples = block.outputs
        if self.form.exact_sum:
            assert block.mixture is not None
            samples = fold_residual(self.outputs, self._on_grid(samples), self._on_grid(block.mixture))
        final = np.clip(samples, -1.0, 1.0) if self.form.clip == "clamp" else samples
        self.frames += final.shape[-1]
        if final.size:
            self.peaks = np.maximum(self.peaks, np.abs(final).max(axis=(1, 2)))
        return final

    def _on_grid(self, samples: np.ndarray) -> np.ndarray:
        """Round to what the format can hold."""
        if self.form.bit_depth not in FULL_SCALE:
            return samples
        integers, _ = quantize(samples, self.form.bit_depth)
        return (integers / FULL_SCALE[self.form.bit_depth]).astype(np.float32)


def _interleaved(samples: np.ndarray) -> np.ndarray:
    """Return samples (outputs, channels, n) whose memory is in the order of files, (outputs, n, channels)."""
    laid_out: np.ndarray = np.ascontiguousarray(samples.swapaxes(1, 2)).swapaxes(1, 2)
    return laid_out


class _Kept:
    """All blocks of the outputs on disk, and of the mixture for an exact sum; a context manager."""

    def __init__(self, outputs: Sequence[Output], form: Form, folder: Path | None) -> None:
        self._outputs, self._form, self._folder = outputs, form, folder
        self._mixture: Spool | None = None

    def __enter__(self) -> _Kept:
        with ExitStack() as stack:
            self._spools = [stack.enter_context(Spool(self._form.channels, self._folder)) for _ in self._outputs]
            if self._form.exact_sum:
                self._mixture = stack.enter_context(Spool(self._form.channels, self._folder))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, block: Rendered) -> None:
        """Append. Raises OutputError when the disk is full."""
        for spool, samples in zip(self._spools, block.outputs, strict=True):
            spool.write(samples)
        if self._mixture is not None and block.mixture is not None:
            self._mixture.write(block.mixture)

    @property
    def frames(self) -> int:
        """Samples per channel so far."""
        return self._spools[0].frames

    def gain(self) -> float:
        """Return the one gain for what has been written."""
        depth = self._form.bit_depth
        # Room for the roundings of all stems, which with an exact sum end up in one of them.
        margin = (len(self._outputs) + 1) / FULL_SCALE[depth] if self._form.exact_sum else 0.0
        return shared_gain(max(spool.peak for spool in self._spools) + margin, depth)

    def blocks(self, gain: float) -> Iterator[Rendered]:
        """Read back from the start, times `gain`."""
        streams = [spool.blocks(gain=gain) for spool in self._spools]
        mixtures = self._mixture.blocks(gain=gain) if self._mixture is not None else None
        for parts in zip(*streams, strict=True):
            yield Rendered(np.stack(parts), None if mixtures is None else next(mixtures))


def _writer(target: Path, form: Form, together: Together, tags: Tags | None, warn: Warn) -> StemWriter:
    kind = partial(PackWriter, stems=PACK_STEMS) if format_named(form.format).packed else StemWriter
    return kind(
        target, form.sample_rate, form.channels, form.format, form.bit_depth, bitrate=form.bitrate,
        frames=form.frames, tags=tags, warn=warn, together=together, picture=form.picture,
    )  # fmt: skip
