"""Stems on disk: whole or not at all, the same bytes each time."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from stemsplit.audio.encode import SndfileEncoder
from stemsplit.audio.formats import check_encodable, format_named
from stemsplit.audio.info import Warn
from stemsplit.audio.refusal import reason
from stemsplit.audio.tags import Tags, write_tags
from stemsplit.audio.wav import RIFF_LIMIT, WavEncoder
from stemsplit.errors import OutputError


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
            self._partial = _partial_path(self.target)
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
        _flush_to_disk(self._partial)
        self._partial.replace(self.target)
        self._partial = None
        _flush_folder(self.target.parent)

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


def _partial_path(target: Path) -> Path:
    """A hidden name in the same folder, short enough for any file system that holds the target's."""
    return target.with_name(f".{target.name[:40]}.partial-{secrets.token_hex(4)}")


def _flush_to_disk(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a power cut, on systems where a folder can be flushed."""
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
