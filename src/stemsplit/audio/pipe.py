"""Standard input and output: any format in, WAV or raw samples out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stemsplit.audio.wav import SAMPLE_TYPES, odd_size, wav_bytes, wav_header
from stemsplit.errors import DecodeError, EmptyAudioError, OutputError, UsageError, reason

RAW_TYPES = ("u8", "s16le", "s24le", "s32le", "f32le", "f64le")
"""Types of bare samples. All are what a WAV holds, so a header is all that is missing."""


@dataclass(frozen=True)
class RawFormat:
    """Headerless samples: rate in Hz, interleaved channels, sample type."""

    sample_rate: int
    channels: int
    sample_type: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * SAMPLE_TYPES[self.sample_type][1]


def parse_raw(spec: str) -> RawFormat:
    """``RATE:CHANNELS:FORMAT``, as in "44100:2:s16le". Raises UsageError."""
    parts = spec.split(":")
    if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise UsageError(f"--raw {spec!r} is not RATE:CHANNELS:FORMAT, as in 44100:2:s16le")
    rate, channels, sample_type = int(parts[0]), int(parts[1]), parts[2].lower()
    if not 1 <= rate < 2**31 or not 1 <= channels <= 1024:
        raise UsageError(f"--raw {spec!r}: needs a sample rate from 1 Hz and from 1 to 1024 channels")
    if sample_type not in RAW_TYPES:
        raise UsageError(f"--raw {spec!r}: unknown sample type; choose one of {', '.join(RAW_TYPES)}")
    return RawFormat(rate, channels, sample_type)


@contextmanager
def spool_stdin(stream: BinaryIO, raw: RawFormat | None = None, folder: Path | None = None) -> Iterator[Path]:
    """Copy a pipe into a temporary file that `probe` and `blocks` can read; deleted at the end.

    With ``raw`` the samples get a WAV header. Decoders need to seek, so a pipe cannot be read as it comes.

    Raises:
        EmptyAudioError: nothing came. DecodeError: raw samples that end inside a frame. OutputError: full
        disk.
    """
    with _named_folder(folder) as path:
        with path.open("wb") as file:
            _copy(stream, file, raw, path)
        yield path


@contextmanager
def _named_folder(folder: Path | None) -> Iterator[Path]:
    """A file that is called "stdin", so that what is said about it is understood."""
    try:
        parent = Path(tempfile.mkdtemp(prefix="stemsplit-", dir=folder))
    except OSError as error:
        raise OutputError(f"cannot keep standard input in a temporary folder: {reason(error)}") from error
    try:
        yield parent / "stdin"
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _copy(stream: BinaryIO, file: BinaryIO, raw: RawFormat | None, path: Path) -> None:
    head = b"" if raw is None else _raw_header(raw, 0)
    try:
        file.write(head)
        shutil.copyfileobj(stream, file, 1 << 20)
        size = file.tell() - len(head)
        if raw is not None:
            file.seek(0)
            file.write(_raw_header(raw, size))
        file.flush()
    except OSError as error:
        raise OutputError(f"cannot keep standard input in {path}: {reason(error)}") from error
    if size == 0:
        raise EmptyAudioError("standard input: nothing came")
    if raw is not None and size % raw.frame_bytes:
        frame = f"{raw.frame_bytes}-byte frames ({raw.channels} × {raw.sample_type})"
        raise DecodeError(f"standard input: cut off, or not --raw as said: {size} bytes do not fill {frame}")


def _raw_header(raw: RawFormat, size: int) -> bytes:
    return wav_header(raw.sample_rate, raw.channels, raw.sample_type, size // raw.frame_bytes)


def write_stream(
    stream: BinaryIO,
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    bit_depth: str,
    *,
    frames: int | None = None,
    raw: bool = False,
) -> bool:
    """Write blocks (channels, n) to a pipe as WAV, or as bare little-endian samples with ``raw``.

    The header states the exact size when ``frames`` is known (RF64 from 4 GiB), else 0xFFFFFFFF, which
    readers of pipes take for "until the end".

    Returns:
        True when all was written; False when the reader went away first (``| head``), which is no error of ours.

    Raises:
        OutputError: the disk behind a redirection is full, and the like.
        ValueError: the blocks were not ``frames`` long, so that the header is wrong; an error in the program.
    """
    try:
        total = 0
        if not raw:
            _send(stream, wav_header(sample_rate, channels, bit_depth, frames))
        for block in blocks:
            total += block.shape[1]
            _send(stream, wav_bytes(np.ascontiguousarray(block.T), bit_depth)[0])
        _send(stream, b"\0" if odd_size(total, channels, bit_depth) and not raw and frames is not None else b"")
    except _ReaderGoneError:
        return False
    if frames not in (None, total):
        raise ValueError(f"{total} samples came where {frames} were announced")
    return True


class _ReaderGoneError(Exception):
    """The other end of the pipe was closed."""


def _send(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[stream.write(rest) :]  # an unbuffered stream may take a part only
        stream.flush()
    except BrokenPipeError as error:
        _lead_nowhere(stream)
        raise _ReaderGoneError from error
    except OSError as error:
        _lead_nowhere(stream)
        raise OutputError(f"cannot write to standard output: {reason(error)}") from error


def _lead_nowhere(stream: BinaryIO) -> None:
    """Point a broken stream at the null device: what is left in its buffer would fail again at exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
