"""A writer of stems. A file appears whole or not at all, and equal stems have equal bytes.

WAV is encoded here, MP3 and what lies in MP4 by FFmpeg, all else by libsndfile: see `encoding`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile

from stemsplit.audio.encoding.bitrates import output_bitrate
from stemsplit.audio.encoding.ffmpeg import CODECS, FfmpegEncoder
from stemsplit.audio.encoding.sndfile import SndfileEncoder
from stemsplit.audio.formats import check_encodable, format_named, track_format
from stemsplit.audio.info import Warn
from stemsplit.audio.tags import Tags, write_tags
from stemsplit.audio.wav import RIFF_LIMIT, WavEncoder, quantize
from stemsplit.errors import OutputError, reason
from stemsplit.machine.disk import partial_path, put_in_place
from stemsplit.machine.together import Together
from stemsplit.options import PACKS


class _Encoder(Protocol):
    def write(self, frames: np.ndarray, /) -> int | None: ...

    def finish(self) -> None: ...

    def abandon(self) -> None: ...


class StemWriter:
    """A writer of one stem, used as a context manager.

    The file grows under a hidden name on the same disk. It gets its own name when the block ends without an error. On
    any exception, Ctrl-C included, the hidden file is removed and `target` stays as it was.

    Args:
        target: the file to write; missing folders above it are made.
        sample_rate: Hz; the format must have it.
        channels: how many; the format must allow that many.
        format: a key of `FORMATS`.
        bit_depth: one that the format has, see `choose_depth`.
        bitrate: bit/s that a lossy format aims at, see `output_bitrate`; None for the format's usual one.
        frames: samples per channel if known, so that audio too long for the format is refused at once.
        tags: written before the file gets its name.
        warn: called with one sentence if the tags cannot be written.
        riff_limit: from this size in bytes on, a WAV is an RF64.
        together: gives the file its name, with others; by default it gets it when the block ends.
        picture: a video whose picture goes into the file, if the format is one of `PICTURED`, and which of its sound
            tracks this is, see `encoding.picture`.

    Attributes:
        frames: samples per channel so far.
        clamped: samples beyond ±1 so far that an integer or lossy format had to clamp.

    Raises:
        OutputError: the folder or the disk refuses, or the format cannot hold this audio.
    """

    def __init__(
        self,
        target: Path,
        sample_rate: int,
        channels: int,
        format: str = "wav",
        bit_depth: str = "24",
        *,
        bitrate: int | None = None,
        frames: int | None = None,
        tags: Tags | None = None,
        warn: Warn | None = None,
        riff_limit: int = RIFF_LIMIT,
        together: Together | None = None,
        picture: tuple[Path, int | None] | None = None,
    ) -> None:
        check_encodable(format, sample_rate, channels, frames, bit_depth)
        self.target, self.sample_rate, self.channels = Path(target), sample_rate, channels
        self.format, self.bit_depth, self.tags, self._warn = format_named(format).name, bit_depth, tags, warn
        self._bitrate = output_bitrate(track_format(format), bitrate, sample_rate, channels)
        self.frames = self.clamped = 0
        self._riff_limit, self._together, self._picture = riff_limit, together, picture
        self._partial: Path | None = None
        self._file: BinaryIO | None = None
        self._encoder: _Encoder | None = None

    def __enter__(self) -> StemWriter:
        self._start()
        return self

    def restart(self) -> None:
        """Drop everything written so far, and begin the file again."""
        self._discard()
        self.frames = self.clamped = 0
        self._start()

    def _start(self) -> None:
        with self._reported():
            self._partial = self._hidden_path()
            try:
                self._file = self._partial.open("x+b")
                self._encoder = self._open_encoder(self._file)
            except BaseException:
                self._discard()
                raise

    def _hidden_path(self) -> Path:
        if self._together is not None:
            return self._together.aside(self.target)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        return partial_path(self.target)

    def write(self, block: np.ndarray) -> None:
        """Append float32 (channels, n) at ±1. Raises: OutputError."""
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(f"a block of shape {block.shape} for {self.channels} channels")
        if self._encoder is None:
            raise ValueError("write() outside of the with block")
        frames = self.frames + block.shape[1]
        check_encodable(self.format, self.sample_rate, self.channels, frames, self.bit_depth)
        with self._reported():
            self.clamped += self._encode(np.ascontiguousarray(block.T))
        self.frames = frames

    def _encode(self, frames: np.ndarray) -> int:
        """Write float32 (n, channels), and return how many samples were clamped."""
        assert self._encoder is not None
        if isinstance(self._encoder, WavEncoder):
            return self._encoder.write(frames)
        samples, clamped = encodable(frames, self.bit_depth)
        self._encoder.write(samples)
        return clamped

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            with self._reported():
                self._commit()
        except BaseException:
            self._discard()
            raise

    def _open_encoder(self, file: BinaryIO) -> _Encoder:
        if self.format == "wav":
            return WavEncoder(file, self.sample_rate, self.channels, self.bit_depth, self._riff_limit)
        if (coded := track_format(self.format)) in CODECS:
            return FfmpegEncoder(
                file, coded, self.sample_rate, self.channels, self.bit_depth,
                bitrate=self._bitrate, picture=self._picture,
            )  # fmt: skip
        serial = zlib.crc32(self.target.name.encode("utf-8", "surrogateescape"))
        return SndfileEncoder(file, self.format, self.sample_rate, self.channels, self.bit_depth, serial, self._bitrate)

    def _commit(self) -> None:
        assert self._partial is not None
        assert self._file is not None
        assert self._encoder is not None
        self._finish(self._file)
        self._file.close()
        if self.tags is not None:
            write_tags(self._partial, self.tags, self.format, self._warn_of_the_stem)
        if self._together is None:
            put_in_place(self._partial, self.target)
        self._partial = None

    def _finish(self, file: BinaryIO) -> None:
        """Write what is missing in an open file whose samples are all there."""
        assert self._encoder is not None
        self._encoder.finish()

    def _warn_of_the_stem(self, message: str) -> None:
        if self._warn is not None:
            self._warn(f"{self.target.name}: {message}")

    def _discard(self) -> None:
        if self._partial is None:
            return
        with suppress(OSError, soundfile.SoundFileError):  # the first error says more than those that follow from it
            if self._encoder is not None:
                self._encoder.abandon()
        with suppress(OSError):  # closing writes what is buffered, and so may fail again
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)
        self._partial = None

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {self.target}: {reason(error)}") from error
        except soundfile.SoundFileError as error:
            text = getattr(error, "error_string", str(error))
            raise OutputError(f"cannot write {self.target}: {text}") from error


class PackWriter(StemWriter):
    """A writer of one file with several sound tracks: a song and its stems, see `containers.stem_box`.

    It takes blocks (1 + stems, channels, n), the song first. A song of one channel is written as stereo.

    Args:
        target: as for `StemWriter`, with all that follows.
        sample_rate: Hz.
        channels: of the blocks.
        format: a key of `PACKS`.
        bit_depth: one that the format has.
        stems: what they are called in the file.
        **how: the other arguments of `StemWriter`.
    """

    def __init__(
        self, target: Path, sample_rate: int, channels: int, format: str, bit_depth: str, *,
        stems: Sequence[str], **how: Any,
    ) -> None:  # fmt: skip
        check_encodable(format, sample_rate, channels, how.get("frames"), bit_depth)
        super().__init__(target, sample_rate, 2, format, bit_depth, **how)
        self._stems = tuple(stems)

    def write(self, block: np.ndarray) -> None:
        """Append float32 (1 + stems, channels, n) at ±1. Raises: OutputError."""
        if block.ndim != 3 or len(block) != 1 + len(self._stems):
            raise ValueError(f"a block of shape {block.shape} for {len(self._stems)} stems and their song")
        if not isinstance(self._encoder, FfmpegEncoder):
            raise ValueError("write() outside of the with block")
        with self._reported():
            for track, samples in enumerate(block):
                stereo = samples if len(samples) == 2 else np.repeat(samples, 2, axis=0)
                frames, clamped = encodable(np.ascontiguousarray(stereo.T), self.bit_depth)
                self._encoder.write(frames, track)
                self.clamped += clamped
        self.frames += block.shape[-1]

    def _open_encoder(self, file: BinaryIO) -> _Encoder:
        return FfmpegEncoder(
            file, PACKS[self.format], self.sample_rate, self.channels, self.bit_depth,
            bitrate=self._bitrate, tracks=1 + len(self._stems),
        )  # fmt: skip

    def _finish(self, file: BinaryIO) -> None:
        from stemsplit.audio.containers.stem_box import add_stem_box, stem_text  # few runs want it

        super()._finish(file)
        add_stem_box(file, stem_text([name.capitalize() for name in self._stems]))


def encodable(frames: np.ndarray, bit_depth: str) -> tuple[np.ndarray, int]:
    """Return the samples as libsndfile and FFmpeg are to store them, and how many were clamped.

    Integers are made here, because libsndfile multiplies by one less than it divides by when it reads: samples would
    not come back the same.
    """
    if bit_depth == "16":
        return quantize(frames, bit_depth)
    if bit_depth == "24":
        samples, clamped = quantize(frames, bit_depth)
        return samples << 8, clamped  # they write the upper 24 of the 32 bits
    return np.clip(frames, -1.0, 1.0), int(np.count_nonzero(np.abs(frames) > 1.0))
