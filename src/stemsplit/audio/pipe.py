"""Standard input and output: any format in, WAV or raw samples out."""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stemsplit.audio.info import form_problem
from stemsplit.audio.wav import SAMPLE_TYPES, odd_size, wav_bytes, wav_header
from stemsplit.errors import DecodeError, EmptyAudioError, OutputError, UsageError, reason
from stemsplit.machine.disk import spare_bytes
from stemsplit.machine.streams import lead_nowhere

RAW_TYPES = ("u8", "s16le", "s24le", "s32le", "f32le", "f64le")
"""Types of samples without a header. A WAV can hold them all, so a WAV header makes them readable."""

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RawFormat:
    """How samples without a header are to be read."""

    sample_rate: int  # Hz
    channels: int  # interleaved
    sample_type: str  # one of `RAW_TYPES`

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample in all channels."""
        return self.channels * SAMPLE_TYPES[self.sample_type][1]


def parse_raw(spec: str) -> RawFormat:
    """Parse ``RATE:CHANNELS:FORMAT``, as in "44100:2:s16le". Raises: UsageError."""
    parts = spec.split(":")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 20 for part in parts[:2]):
        raise UsageError(f"--raw {spec[:80]!r} is not RATE:CHANNELS:FORMAT, as in 44100:2:s16le")
    rate, channels, sample_type = int(parts[0]), int(parts[1]), parts[2].lower()
    if problem := form_problem(rate, channels):
        raise UsageError(f"--raw {spec!r}: {problem}")
    if sample_type not in RAW_TYPES:
        raise UsageError(f"--raw {spec!r}: unknown sample type; choose one of {', '.join(RAW_TYPES)}")
    return RawFormat(rate, channels, sample_type)


@contextmanager
def spool_stdin(stream: BinaryIO, raw: RawFormat | None = None, folder: Path | None = None) -> Iterator[Path]:
    """Copy a pipe into a temporary file that `probe` and `blocks` can read, and delete it at the end.

    The copy is needed because decoders seek, and a pipe cannot do that.

    Args:
        stream: the pipe.
        raw: what its samples are if it has no header; the copy gets a WAV header.
        folder: where to put the copy; by default the system's temporary folder.

    Raises:
        EmptyAudioError: the pipe gave no bytes.
        DecodeError: the pipe cannot be read, or raw samples end in the middle of a frame.
        OutputError: the copy cannot be written, or would fill the disk.
    """
    with _named_folder(folder) as path:
        with path.open("wb") as file:
            _copy(stream, file, raw, path)
        yield path


@contextmanager
def _named_folder(folder: Path | None) -> Iterator[Path]:
    """Yield a path named "stdin" in a new folder, so that messages about the file say "stdin"."""
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
        for block in _blocks(stream, path):
            file.write(block)
            file.flush()  # a full disk shows here, not when the file is closed
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


def _blocks(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield what comes through a pipe, as long as the disk of `path` can spare the room."""
    room, came = spare_bytes(path.parent), 0
    while True:
        try:
            block = stream.read(BLOCK_BYTES)
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise DecodeError(f"standard input: it cannot be read: {why}") from error
        if not block:
            return
        came += len(block)
        if came > room:
            raise OutputError(
                f"standard input is longer than the {room / 1e6:.0f} MB that {path.parent.parent} has room for: "
                "set TMPDIR to a folder on a larger disk, or name a file"
            )
        yield block


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
    """Write blocks to a pipe, as a WAV or as samples without a header.

    Args:
        stream: the pipe.
        blocks: float32 (channels, n) at ±1.
        sample_rate: Hz.
        channels: how many.
        bit_depth: "16", "24" or "32f".
        frames: samples per channel in all, if known. Then the header states the size (RF64 from 4 GiB). Otherwise it
            states 0xFFFFFFFF, which programs that read from pipes take for "until the end"; but in a file, to which
            output was redirected, it is put right at the end.
        raw: leave out the header; samples are little-endian.

    Returns:
        True if everything was written. False if the reader closed the pipe first, as in ``| head``; that is no error.

    Raises:
        OutputError: writing failed, for example because output is redirected to a full disk; or the blocks do not add
            up to `frames`, so that the header is wrong.
    """
    total, start = 0, None if raw else _start_in_file(stream)
    try:
        if not raw:
            _send(stream, wav_header(sample_rate, channels, bit_depth, frames))
        for block in blocks:
            total += block.shape[1]
            _send(stream, wav_bytes(np.ascontiguousarray(block.T), bit_depth)[0])
        states_its_size = not raw and (frames is not None or start is not None)
        _send(stream, b"\0" if odd_size(total, channels, bit_depth) and states_its_size else b"")
        if start is not None and frames != total:
            _send_at(stream, start, wav_header(sample_rate, channels, bit_depth, total))
            return True
    except _ReaderGoneError:
        return False
    if frames not in (None, total):
        raise OutputError(
            f"standard output: its header states {frames} samples, and {total} came: name a folder instead"
        )
    return True


def _start_in_file(stream: BinaryIO) -> int | None:
    """Return where in a file a stream begins; None if what was written cannot be changed, as in a pipe or by >>."""
    try:
        descriptor = stream.fileno()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        if os.name == "posix":
            posix = importlib.import_module("fcntl")
            if posix.fcntl(descriptor, posix.F_GETFL) & os.O_APPEND:
                return None
        return stream.tell()
    except (OSError, ValueError):
        return None


def _send_at(stream: BinaryIO, position: int, data: bytes) -> None:
    """Overwrite bytes of a file, and go back to its end."""
    end = stream.tell()
    stream.seek(position)
    _send(stream, data)
    stream.seek(end)


class _ReaderGoneError(Exception):
    """The program that reads the pipe has closed it."""


def _send(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[stream.write(rest) :]  # an unbuffered stream may write only a part
        stream.flush()
    except BrokenPipeError as error:
        lead_nowhere(stream)
        raise _ReaderGoneError from error
    except OSError as error:
        lead_nowhere(stream)
        raise OutputError(f"cannot write to standard output: {reason(error)}") from error
