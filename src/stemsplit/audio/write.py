"""Stems on disk: whole or not at all, the same bytes each time; all formats but WAV are encoded by libsndfile."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile

from stemsplit.audio.callbacks import CallbackFile
from stemsplit.audio.formats import check_encodable, format_named
from stemsplit.audio.headers import set_serial
from stemsplit.audio.info import Warn
from stemsplit.audio.tags import Tags, write_tags
from stemsplit.audio.wav import RIFF_LIMIT, WavEncoder, quantize
from stemsplit.errors import OutputError, reason
from stemsplit.machine.disk import partial_path, put_in_place


class _Encoder(Protocol):
    def write(self, frames: np.ndarray) -> int: ...

    def finish(self) -> None: ...

    def abandon(self) -> None: ...


class StemWriter:
    """Writes one stem; a context manager.

    The file grows under a hidden name in the same folder and takes its own name when the block ends without
    an error. On any exception, Ctrl-C included, the hidden file is removed and ``target`` stays as it was.

    Args:
        target: the file to write; folders above it are made.
        sample_rate, channels: Hz, count; checked against the format.
        format: a key of `FORMATS`; ``bit_depth``: one that it has (`choose_depth`).
        frames: samples per channel when known, to refuse early what the format cannot hold.
        tags: written before the file gets its name; ``warn`` hears of what could not be.
        riff_limit: the size in bytes from which a WAV is an RF64.

    After the block ``frames`` and ``clamped`` (samples beyond ±1 that an integer or lossy format cut) are
    final.

    Raises:
        OutputError: the folder or disk refuses, or the format cannot hold this audio.
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
    ) -> None:
        check_encodable(format, sample_rate, channels, frames, bit_depth)
        self.target, self.sample_rate, self.channels = Path(target), sample_rate, channels
        self.format, self.bit_depth, self.tags, self._warn = format_named(format).name, bit_depth, tags, warn
        self.frames = self.clamped = 0
        self._riff_limit = riff_limit
        self._partial: Path | None = None
        self._file: BinaryIO | None = None
        self._encoder: _Encoder | None = None

    def __enter__(self) -> StemWriter:
        self._start()
        return self

    def restart(self) -> None:
        """Forget what was written."""
        self._discard()
        self.frames = self.clamped = 0
        self._start()

    def _start(self) -> None:
        with self._reported():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._partial = partial_path(self.target)
            try:
                self._file = self._partial.open("x+b")
                self._encoder = self._open_encoder(self._file)
            except BaseException:
                self._discard()
                raise

    def write(self, block: np.ndarray) -> None:
        """Append float32 (channels, n) at ±1."""
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
            write_tags(self._partial, self.tags, self.format, self._warn)
        put_in_place(self._partial, self.target)
        self._partial = None

    def _discard(self) -> None:
        if self._partial is None:
            return
        with suppress(OSError, soundfile.SoundFileError):  # the error in flight says more than a second one
            if self._encoder is not None:
                self._encoder.abandon()
        with suppress(OSError):  # closing writes what is buffered, which may be what failed
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


_WRITE_FRAMES = 4096  # libsndfile's Vorbis encoder keeps a whole write on the C stack
_OPTIONS: dict[str, dict[str, Any]] = {
    "flac": {"format": "FLAC"},
    "aiff": {"format": "AIFF"},
    # 320 kbit/s, or the most that MPEG-2 has
    "mp3": {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "compression_level": 0.0,
        "bitrate_mode": "CONSTANT",
    },
    # quality 8, about 256 kbit/s for stereo
    "ogg": {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.2},
    # about 130 kbit/s a channel
    "opus": {"format": "OGG", "subtype": "OPUS", "compression_level": 0.5},
}


class SndfileEncoder:
    """Writes one stem to an open, seekable file. ``serial`` becomes the Ogg stream's number.

    Errors of the file itself come through as they are; libsndfile's own are soundfile.SoundFileError.
    """

    def __init__(self, file: BinaryIO, format: str, rate: int, channels: int, bit_depth: str, serial: int) -> None:
        self._sink = CallbackFile(file)
        self._depth, self._serial = bit_depth, serial if format in ("ogg", "opus") else None
        options = {"subtype": f"PCM_{bit_depth}"} | _OPTIONS[format]
        try:
            self._sound = soundfile.SoundFile(self._sink, "w", rate, channels, **options)
        finally:
            self._check_or_abandon()

    def write(self, frames: np.ndarray) -> int:
        """Append float32 (n, channels); how many samples were clamped to ±1."""
        samples, clamped = _encodable(frames, self._depth)
        for start in range(0, len(samples), _WRITE_FRAMES):
            try:
                self._sound.write(samples[start : start + _WRITE_FRAMES])
            finally:
                self._sink.check()
        return clamped

    def finish(self) -> None:
        """Write what the codec still holds, and the header."""
        try:
            self._sound.close()
        finally:
            self._sink.check()
        if self._serial is not None:
            set_serial(self._sink.file, self._serial)

    def abandon(self) -> None:
        """Free the codec without writing any more."""
        self._sink.abandoned = True
        self._sound.close()

    def _check_or_abandon(self) -> None:
        try:
            self._sink.check()
        except BaseException:
            self._sink.abandoned = True  # the codec is freed later, when the file is closed already
            raise


def _encodable(frames: np.ndarray, bit_depth: str) -> tuple[np.ndarray, int]:
    """Samples as libsndfile shall store them. It would scale floats by one step less than it divides by."""
    if bit_depth == "16":
        return quantize(frames, bit_depth)
    if bit_depth == "24":
        samples, clamped = quantize(frames, bit_depth)
        return samples << 8, clamped  # it keeps the upper 24 bits of 32
    return np.clip(frames, -1.0, 1.0), int(np.count_nonzero(np.abs(frames) > 1.0))
