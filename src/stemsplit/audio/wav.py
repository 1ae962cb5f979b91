"""A writer of WAV and RF64 files.

libsndfile is not used for them: it does not change to RF64 when a file grows too large for WAV, and it writes the time
of day into the header, so that equal stems would have different bytes.

The header has the same length in both formats. A WAV keeps 36 bytes free (a "JUNK" chunk). They become the "ds64" chunk
of an RF64 if the file grows beyond 32-bit sizes (EBU Tech 3306, section 3.3).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from stemsplit.audio.containers.speakers import WAV_MASKS
from stemsplit.audio.formats import FULL_SCALE

RIFF_LIMIT = 2**32 - 1
"""The largest size in bytes that a RIFF header can state. It also means "unknown" or "see the ds64 chunk"."""

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
SAMPLE_TYPES = {
    "16": (_PCM, 2), "24": (_PCM, 3), "32f": (_FLOAT, 4),
    "u8": (_PCM, 1), "s16le": (_PCM, 2), "s24le": (_PCM, 3), "s32le": (_PCM, 4), "f32le": (_FLOAT, 4),
    "f64le": (_FLOAT, 8),
}  # fmt: skip
"""Bit depth of a stem, or type of samples from standard input → (WAV format tag, bytes per sample)."""
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def wav_header(
    sample_rate: int, channels: int, bit_depth: str, frames: int | None, *, limit: int = RIFF_LIMIT
) -> bytes:
    """Return the header of a WAV or RF64 file: everything before the samples.

    Args:
        sample_rate: Hz.
        channels: how many.
        bit_depth: a key of `SAMPLE_TYPES`.
        frames: samples per channel; None for a stream of unknown length, whose sizes are 0xFFFFFFFF.
        limit: from this size in bytes on, the file is an RF64.
    """
    tag, sample_bytes = SAMPLE_TYPES[bit_depth]
    block = channels * sample_bytes
    fmt = _fmt(sample_rate, channels, bit_depth)
    fact = tag == _FLOAT
    rest = 4 + 36 + 8 + len(fmt) + 12 * fact + 8  # bytes that the RIFF size counts besides the samples
    data = None if frames is None else frames * block
    if data is None:
        riff_size = data_size = samples = RIFF_LIMIT
        name, spare = b"RIFF", b"JUNK" + struct.pack("<I28x", 28)
    elif rest + data + data % 2 < limit:
        riff_size, data_size, samples = rest + data + data % 2, data, frames or 0
        name, spare = b"RIFF", b"JUNK" + struct.pack("<I28x", 28)
    else:
        riff_size = data_size = samples = RIFF_LIMIT
        sizes = struct.pack("<IQQQI", 28, rest + data + data % 2, data, frames or 0, 0)
        name, spare = b"RF64", b"ds64" + sizes
    head = name + struct.pack("<I", riff_size) + b"WAVE" + spare + b"fmt " + struct.pack("<I", len(fmt)) + fmt
    if fact:
        head += b"fact" + struct.pack("<II", 4, samples)
    return head + b"data" + struct.pack("<I", data_size)


def _fmt(sample_rate: int, channels: int, bit_depth: str) -> bytes:
    tag, size = SAMPLE_TYPES[bit_depth]
    block = channels * size
    byte_rate = min(sample_rate * block, RIFF_LIMIT)
    common = struct.pack("<HIIHH", channels, sample_rate, byte_rate, block, 8 * size)
    if channels > 2:
        extension = struct.pack("<HHIH", 22, 8 * size, WAV_MASKS.get(channels, 0), tag) + _GUID_TAIL
        return struct.pack("<H", _EXTENSIBLE) + common + extension
    return struct.pack("<H", tag) + common + (struct.pack("<H", 0) if tag == _FLOAT else b"")


def quantize(frames: np.ndarray, bit_depth: str) -> tuple[np.ndarray, int]:
    """Round floats (…) at ±1 to integers; return these, and how many samples had to be clamped.

    "16" gives int16; "24" gives int32 of which 24 bits are used. Reading divides by the same 2**15 or 2**23, so samples
    that came from a file of this bit depth keep their bits. For the same reason there is no dither.
    """
    full = FULL_SCALE[bit_depth]
    scaled = np.rint(frames * np.float64(full) if bit_depth == "24" else frames * np.float32(full))
    beyond = (scaled < -full) | (scaled > full)  # +1.0 is off by one step only: that is not counted as clipping
    np.clip(scaled, -full, full - 1, out=scaled)
    return scaled.astype(np.int16 if bit_depth == "16" else np.int32), int(np.count_nonzero(beyond))


def odd_size(frames: int, channels: int, bit_depth: str) -> bool:
    """Return whether the samples take an odd number of bytes. A byte of padding follows them then, by the format."""
    return frames * channels * SAMPLE_TYPES[bit_depth][1] % 2 == 1


def wav_bytes(frames: np.ndarray, bit_depth: str) -> tuple[bytes, int]:
    """Convert float32 samples (n, channels) to little-endian bytes; return these, and how many samples were clamped."""
    if bit_depth == "32f":
        return np.ascontiguousarray(frames, dtype="<f4").tobytes(), 0
    integers, clamped = quantize(frames, bit_depth)
    if bit_depth == "16":
        return integers.astype("<i2").tobytes(), clamped
    packed = np.ascontiguousarray(integers.astype("<i4")).view(np.uint8).reshape(*integers.shape, 4)
    return packed[..., :3].tobytes(), clamped


class WavEncoder:
    """A writer of one WAV or RF64 to an open, seekable binary file. `finish` completes the header."""

    def __init__(
        self, file: BinaryIO, sample_rate: int, channels: int, bit_depth: str, limit: int = RIFF_LIMIT
    ) -> None:
        self._file, self._limit, self._depth = file, limit, bit_depth
        self._rate, self._channels = sample_rate, channels
        self._frames = 0
        file.write(wav_header(sample_rate, channels, bit_depth, 0))

    def write(self, frames: np.ndarray) -> int:
        """Append float32 (n, channels), and return how many samples were clamped."""
        data, clamped = wav_bytes(frames, self._depth)
        self._file.write(data)
        self._frames += len(frames)
        return clamped

    def abandon(self) -> None:
        """Do nothing: this encoder holds nothing that would have to be freed."""

    def finish(self) -> None:
        """Pad the samples to an even number of bytes, and write the sizes into the header."""
        if odd_size(self._frames, self._channels, self._depth):
            self._file.write(b"\0")
        self._file.seek(0)
        self._file.write(wav_header(self._rate, self._channels, self._depth, self._frames, limit=self._limit))
