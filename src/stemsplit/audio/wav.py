"""WAV and RF64, written here: libsndfile neither turns to RF64 by itself nor leaves the time of day out.

The header has one length for both: 36 bytes are kept free ("JUNK") that become RF64's "ds64" chunk once the
file has outgrown 32-bit sizes (EBU Tech 3306, section 3.3).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from stemsplit.audio.formats import FULL_SCALE

RIFF_LIMIT = 2**32 - 1
"""The largest size, in bytes, that a RIFF header can state; it also stands for "unknown" or "see ds64"."""

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
SAMPLE_TYPES = {
    "16": (_PCM, 2), "24": (_PCM, 3), "32f": (_FLOAT, 4),
    "u8": (_PCM, 1), "s16le": (_PCM, 2), "s24le": (_PCM, 3), "s32le": (_PCM, 4), "f32le": (_FLOAT, 4),
    "f64le": (_FLOAT, 8),
}  # fmt: skip
"""Bit depth that is written, or type of bare samples that are read → (WAV format tag, bytes per sample)."""
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_SPEAKERS = {4: 0x33, 6: 0x3F, 8: 0x63F}  # quadraphonic, 5.1, 7.1; other counts name no speakers


def wav_header(
    sample_rate: int, channels: int, bit_depth: str, frames: int | None, *, limit: int = RIFF_LIMIT
) -> bytes:
    """Return everything before the samples, whose type is a key of `SAMPLE_TYPES`.

    ``frames`` None: a stream of unknown length, sizes 0xFFFFFFFF. From ``limit`` bytes on it is an RF64.
    """
    tag, sample_bytes = SAMPLE_TYPES[bit_depth]
    block = channels * sample_bytes
    fmt = _fmt(sample_rate, channels, bit_depth)
    fact = tag == _FLOAT
    rest = 4 + 36 + 8 + len(fmt) + 12 * fact + 8  # what RIFF's size counts besides the samples
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
        extension = struct.pack("<HHIH", 22, 8 * size, _SPEAKERS.get(channels, 0), tag) + _GUID_TAIL
        return struct.pack("<H", _EXTENSIBLE) + common + extension
    return struct.pack("<H", tag) + common + (struct.pack("<H", 0) if tag == _FLOAT else b"")


def quantize(frames: np.ndarray, bit_depth: str) -> tuple[np.ndarray, int]:
    """float (…) at ±1 → integers by plain rounding, and how many samples had to be clamped.

    "16" gives int16, "24" gives int32 that uses 24 bits. Reading divides by 2**15 or 2**23, so what was read
    comes back unchanged. No dither: a stem that equals its source must have its bits.
    """
    full = FULL_SCALE[bit_depth]
    scaled = np.rint(frames * np.float64(full) if bit_depth == "24" else frames * np.float32(full))
    beyond = (scaled < -full) | (scaled > full)  # +1.0 itself is one step off: no clipping
    np.clip(scaled, -full, full - 1, out=scaled)
    return scaled.astype(np.int16 if bit_depth == "16" else np.int32), int(np.count_nonzero(beyond))


def odd_size(frames: int, channels: int, bit_depth: str) -> bool:
    """Whether so many samples need a byte of padding after them: chunks have even lengths."""
    return frames * channels * SAMPLE_TYPES[bit_depth][1] % 2 == 1


def wav_bytes(frames: np.ndarray, bit_depth: str) -> tuple[bytes, int]:
    """Samples (n, channels) float32 → little-endian bytes, and how many samples were clamped."""
    if bit_depth == "32f":
        return np.ascontiguousarray(frames, dtype="<f4").tobytes(), 0
    integers, clamped = quantize(frames, bit_depth)
    if bit_depth == "16":
        return integers.astype("<i2").tobytes(), clamped
    packed = np.ascontiguousarray(integers.astype("<i4")).view(np.uint8).reshape(*integers.shape, 4)
    return packed[..., :3].tobytes(), clamped


class WavEncoder:
    """Writes to an open, seekable binary file; the header is completed by `finish`."""

    def __init__(
        self, file: BinaryIO, sample_rate: int, channels: int, bit_depth: str, limit: int = RIFF_LIMIT
    ) -> None:
        self._file, self._limit, self._depth = file, limit, bit_depth
        self._rate, self._channels = sample_rate, channels
        self._frames = 0
        file.write(wav_header(sample_rate, channels, bit_depth, 0))

    def write(self, frames: np.ndarray) -> int:
        """Append float32 (n, channels); how many samples were clamped."""
        data, clamped = wav_bytes(frames, self._depth)
        self._file.write(data)
        self._frames += len(frames)
        return clamped

    def abandon(self) -> None:
        """Nothing is held back here."""

    def finish(self) -> None:
        """Pad to an even length and write the sizes."""
        if odd_size(self._frames, self._channels, self._depth):
            self._file.write(b"\0")
        self._file.seek(0)
        self._file.write(wav_header(self._rate, self._channels, self._depth, self._frames, limit=self._limit))
