"""A writer of stems. A file appears whole or not at all, and equal stems have equal bytes.

All formats but WAV are encoded by libsndfile.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile

from stemsplit.audio.containers.callbacks import CallbackFile
from stemsplit.audio.containers.ogg import set_serial
from stemsplit.audio.containers.speakers import to_vorbis
from stemsplit.audio.formats import check_encodable, format_named
from stemsplit.audio.info import Warn
from stemsplit.audio.tags import Tags, write_tags
from stemsplit.audio.wav import RIFF_LIMIT, WavEncoder, quantize
from stemsplit.errors import OutputError, reason
from stemsplit.machine.disk import partial_path, put_in_place
from stemsplit.machine.together import Together


class _Encoder(Protocol):
    def write(self, frames: np.ndarray) -> int: ...

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
        frames: samples per channel if known, so that audio too long for the format is refused at once.
        tags: written before the file gets its name.
        warn: called with one sentence if the tags cannot be written.
        riff_limit: from this size in bytes on, a WAV is an RF64.
        together: gives the file its name, with others; by default it gets it when the block ends.

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
        frames: int | None = None,
        tags: Tags | None = None,
        warn: Warn | None = None,
        riff_limit: int = RIFF_LIMIT,
        together: Together | None = None,
    ) -> None:
        check_encodable(format, sample_rate, channels, frames, bit_depth)
        self.target, self.sample_rate, self.channels = Path(target), sample_rate, channels
        self.format, self.bit_depth, self.tags, self._warn = format_named(format).name, bit_depth, tags, warn
        self.frames = self.clamped = 0
        self._riff_limit, self._together = riff_limit, together
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
            self.clamped += self._encoder.write(np.ascontiguousarray(block.T))
        self.frames = frames

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
        serial = zlib.crc32(self.target.name.encode("utf-8", "surrogateescape"))
        return SndfileEncoder(file, self.format, self.sample_rate, self.channels, self.bit_depth, serial)

    def _commit(self) -> None:
        assert self._partial is not None
        assert self._file is not None
        assert self._encoder is not None
        self._encoder.finish()
        self._file.close()
        if self.tags is not None:
            write_tags(self._partial, self.tags, self.format, self._warn_of_the_stem)
        if self._together is None:
            put_in_place(self._partial, self.target)
        self._partial = None

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


_WRITE_FRAMES = 4096  # libsndfile's Vorbis encoder puts all samples of one call on the C stack
_OPTIONS: dict[str, dict[str, Any]] = {
    "flac": {"format": "FLAC"},
    "aiff": {"format": "AIFF"},
    # 320 kbit/s; at the low sample rates of MPEG-2 the most that it allows
    "mp3": {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "compression_level": 0.0,
        "bitrate_mode": "CONSTANT",
    },
    # quality 8, about 256 kbit/s for stereo
    "ogg": {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.2},
    # about 130 kbit/s per channel
    "opus": {"format": "OGG", "subtype": "OPUS", "compression_level": 0.5},
}


class SndfileEncoder:
    """An encoder of one stem, by libsndfile, to an open and seekable file.

    Errors of the file are raised as they are. Errors of libsndfile are soundfile.SoundFileError.

    Args:
        file: where to write.
        format: a key of `FORMATS` other than "wav".
        rate: Hz.
        channels: how many.
        bit_depth: one that the format has.
        serial: the serial number of the stream, in Ogg files.
    """

    def __init__(self, file: BinaryIO, format: str, rate: int, channels: int, bit_depth: str, serial: int) -> None:
        self._sink = CallbackFile(file)
        self._depth, self._serial = bit_depth, serial if format in ("ogg", "opus") else None
        self._order = to_vorbis(channels) if format in ("ogg", "opus") else None
        options = {"subtype": f"PCM_{bit_depth}"} | _OPTIONS[format]
        try:
            self._sound = soundfile.SoundFile(self._sink, "w", rate, channels, **options)
        finally:
            self._check_or_abandon()

    def write(self, frames: np.ndarray) -> int:
        """Append float32 (n, channels), and return how many samples were clamped to ±1."""
        samples, clamped = _encodable(frames if self._order is None else frames[:, self._order], self._depth)
        for start in range(0, len(samples), _WRITE_FRAMES):
            try:
                self._sound.write(samples[start : start + _WRITE_FRAMES])
            finally:
                self._sink.check()
        return clamped

    def finish(self) -> None:
        """Write the samples that the codec still holds, and complete the header."""
        try:
            self._sound.close()
        finally:
            self._sink.check()
        if self._serial is not None:
            set_serial(self._sink.file, self._serial)

    def abandon(self) -> None:
        """Free the codec without writing anything more."""
        self._sink.abandoned = True
        self._sound.close()

    def _check_or_abandon(self) -> None:
        try:
            self._sink.check()
        except BaseException:
            self._sink.abandoned = True  # the codec will be freed after the file is closed, and must not write then
            raise


def _encodable(frames: np.ndarray, bit_depth: str) -> tuple[np.ndarray, int]:
    """Return the samples as libsndfile is to store them, and how many were clamped.

    Integers are made here, because libsndfile multiplies by one less than it divides by when it reads: samples would
    not come back the same.
    """
    if bit_depth == "16":
        return quantize(frames, bit_depth)
    if bit_depth == "24":
        samples, clamped = quantize(frames, bit_depth)
        return samples << 8, clamped  # libsndfile writes the upper 24 of the 32 bits
    return np.clip(frames, -1.0, 1.0), int(np.count_nonzero(np.abs(frames) > 1.0))
