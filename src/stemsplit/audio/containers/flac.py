"""The length of a FLAC file by its last frame (RFC 9639, sections 8.2 and 9).

The header states a number of samples. It is wrong in a file that was cut without decoding, and 0 in one that was
written into a pipe. Every frame states where it lies, and how many samples it has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stemsplit.audio.containers.tags import sound_end, sound_start
from stemsplit.audio.containers.view import View

_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{code: 256 << code - 8 for code in range(8, 16)}}
_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the mark, and the head of the first block
_LARGEST_FRAME = 1 << 20  # bytes: larger ones are not met
_CANDIDATES = 8  # what looks like the start of the last frame; bytes of sound hardly ever do


@dataclass(frozen=True)
class FlacLength:
    """Samples per channel, by the header and by the frames.

    Attributes:
        stated: by the header; 0 if it does not say.
        found: from the first frame to the end of the last one; None if the file does not end with a whole frame.
        variable: the frames have different sizes, which libsndfile refuses.
    """

    stated: int
    found: int | None
    variable: bool


def read_flac_length(path: Path) -> FlacLength | None:
    """Read the header, the first and the last frame of a file. Return None if it is not FLAC."""
    with path.open("rb") as file:
        start = sound_start(file)
        file.seek(start)
        head = file.read(42)
        if head[:4] != b"fLaC" or head[4] & 127 != 0 or len(head) < 42:
            return None
        stated = int.from_bytes(head[21:26], "big") & (1 << 36) - 1
        first_frame = _frames_start(file, start + 4)
        file.seek(first_frame)
        first = _Frame.parse(file.read(32))
        if first is None:
            return FlacLength(stated, None, False)
        largest = int.from_bytes(head[15:18], "big") or _LARGEST_FRAME
        last = _last_frame(file, first_frame, min(2 * largest, _LARGEST_FRAME))
    nominal = 1 if first.variable else first.samples
    found = None if last is None else last.number * nominal + last.samples - first.number * nominal
    return FlacLength(stated, found, first.variable)


def flac_parts(path: Path) -> tuple[View, ...]:
    """Return a view of each of several FLAC files that were joined; one view if there is only one."""
    with path.open("rb") as file:
        starts = [sound_start(file)]
        file.seek(starts[0] + 1)
        held = b""
        while some := file.read(1 << 20):
            data = held + some
            at = file.tell() - len(data)
            starts += [at + found.start() for found in _START.finditer(data)]
            held = data[-7:]
    return tuple(View(start, end) for start, end in zip(starts, [*starts[1:], None], strict=True))


def _frames_start(file: BinaryIO, at: int) -> int:
    """Return the position after the last metadata block."""
    last = False
    while not last:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4:
            break
        last = bool(head[0] & 128)
        at += 4 + int.from_bytes(head[1:], "big")
    return at


@dataclass(frozen=True)
class _Frame:
    """What the header of a frame states."""

    variable: bool  # `number` counts samples and not frames
    number: int
    samples: int

    @classmethod
    def parse(cls, data: bytes) -> _Frame | None:
        """Read the header at the start of some bytes. Return None if there is none, by its checksum."""
        if len(data) < 6 or data[0] != 0xFF or data[1] & 0xFE != 0xF8:
            return None
        number, at = _coded_number(data, 4)
        code = data[2] >> 4
        samples = _SIZES.get(code, 0)
        if code in (6, 7):
            width = code - 5
            samples = int.from_bytes(data[at : at + width], "big") + 1
            at += width
        at += {12: 1, 13: 2, 14: 2}.get(data[2] & 15, 0)  # the sample rate, if it stands behind the number
        if number is None or not samples or len(data) <= at or _crc8(data[:at]) != data[at]:
            return None
        return cls(bool(data[1] & 1), number, samples)


def _coded_number(data: bytes, at: int) -> tuple[int | None, int]:
    """Read a number that is coded as in UTF-8, with up to seven bytes; return it and the position after it."""
    more = 8 - (~data[at] & 0xFF).bit_length()  # the leading ones
    if more in (1, 8):
        return None, at
    number, length = data[at] & (0x7F >> more), max(1, more)
    for byte in data[at + 1 : at + length]:
        number = number << 6 | byte & 0x3F
    return number, at + length


def _last_frame(file: BinaryIO, first_frame: int, most: int) -> _Frame | None:
    """Return the frame of at most `most` bytes that ends where the sound ends. By its checksum it is whole."""
    end = sound_end(file)
    begin = max(first_frame, end - most)
    file.seek(begin)
    tail = file.read(end - begin).rstrip(b"\0") if end > begin else b""
    for padding in (b"", b"\0", b"\0\0"):  # a checksum may end with zeros
        data = tail + padding
        at, tried = len(data), 0
        while tried < _CANDIDATES and (at := data.rfind(b"\xff", 0, at)) >= 0:
            frame = _Frame.parse(data[at : at + 20])
            tried += frame is not None
            if frame is not None and _crc16(data[at:]) == 0:
                return frame
    return None


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ 0x107 if crc & 0x80 else crc << 1
    return crc


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = crc << 8 & 0xFF00 ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _crc16_row(crc: int) -> int:
    crc <<= 8
    for _ in range(8):
        crc = crc << 1 ^ 0x18005 if crc & 0x8000 else crc << 1
    return crc


_CRC16 = tuple(_crc16_row(byte) for byte in range(256))
