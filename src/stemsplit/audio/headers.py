"""What the headers of a file state: the bytes of samples, the exact length of an MP3, the checksums of Ogg pages.

libsndfile reads a file that was cut off as if it were a shorter one, skips damaged Ogg pages, and stops at the end of
the first of several joined streams. It does all this without an error, so the files are checked here.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# --- WAV, AIFF, W64, CAF. Programs that write to a pipe cannot know the size beforehand. They state 0, 0xFFFFFFFF or
# the like, which says nothing about the length.

_RIFF_SIZE_UNKNOWN = 0x7FFFF000  # SoX and others write 0x7FFFF000 + header, FFmpeg 0xFFFFFFFF
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


def missing_bytes(path: Path) -> int:
    """Return how many bytes of samples are missing at the end of a WAV, RF64, W64, AIFF or CAF file, by its header."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(16)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            end = _riff_data_end(file)
        elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            end = _aiff_data_end(file)
        elif head[:4] == b"riff":
            end = _w64_data_end(file)
        elif head[:4] == b"caff":
            end = _caf_data_end(file)
        else:
            end = 0
    return max(0, end - size)


def _riff_data_end(file: BinaryIO) -> int:
    file.seek(12)
    long_size = 0
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"ds64":
            body = file.read(size)
            long_size = int.from_bytes(body[8:16], "little")
        elif name == b"data":
            if size == 0xFFFFFFFF and long_size:
                return file.tell() + long_size
            return file.tell() + size if size < _RIFF_SIZE_UNKNOWN or long_size else 0
        else:
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def _aiff_data_end(file: BinaryIO) -> int:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], "big")
        if head[:4] == b"SSND":
            return file.tell() + size if size < _RIFF_SIZE_UNKNOWN else 0
        file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def _w64_data_end(file: BinaryIO) -> int:
    file.seek(40)
    while len(head := file.read(24)) == 24:
        size = int.from_bytes(head[16:], "little")  # includes the 24 bytes of this header
        if head[:16] == _W64_DATA:
            return file.tell() + size - 24 if size < 1 << 62 else 0
        if size < 24:
            return 0
        file.seek((size - 24 + 7) // 8 * 8, os.SEEK_CUR)
    return 0


def _caf_data_end(file: BinaryIO) -> int:
    file.seek(8)
    while len(head := file.read(12)) == 12:
        size = int.from_bytes(head[4:], "big", signed=True)  # -1: until the end of the file
        if head[:4] == b"data" or size < 0:
            return file.tell() + max(size, 0)
        file.seek(size, os.SEEK_CUR)
    return 0


# --- MP3. A decoder returns whole frames. How many of their samples are the encoder's delay and padding is stated only
# in the Xing/LAME frame at the start (Taylor, "Mp3 Info Tag rev 1"). An MP3 without it does not state its exact length.


@dataclass(frozen=True)
class MpegHeader:
    """What the first frame of an MPEG audio file states."""

    samples: int | None  # per channel, without delay and padding; None if the frame has no Xing/LAME tag


def read_mpeg_header(path: Path) -> MpegHeader | None:
    """Read the first frame of a file. Return None if it is not MPEG audio (layer I, II or III)."""
    with path.open("rb") as file:
        file.seek(_id3_size(file.read(10)))
        frame = file.read(256).ljust(256, b"\0")
    if not _is_frame(frame):
        return None
    return MpegHeader(_tagged_samples(frame))


def _id3_size(head: bytes) -> int:
    """Return the bytes that an ID3v2 tag takes at the start of a file; 0 if there is none.

    Sizes in ID3v2 have seven bits in each byte.
    """
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
    return size + (20 if head[5] & 0x10 else 10)


def _is_frame(head: bytes) -> bool:
    sync = head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return sync and version != 1 and layer != 0 and bitrate != 15 and rate != 3


def _frame_samples(head: bytes) -> int:
    layer, mpeg1 = 4 - (head[1] >> 1 & 3), head[1] >> 3 & 3 == 3
    return 384 if layer == 1 else 1152 if layer == 2 or mpeg1 else 576


def _tagged_samples(frame: bytes) -> int | None:
    mpeg1, mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    tag = 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))
    if frame[tag : tag + 4] not in (b"Xing", b"Info") or not frame[tag + 7] & 1:
        return None
    frames = int.from_bytes(frame[tag + 8 : tag + 12], "big")
    flags = frame[tag + 7]
    lame = tag + 12 + (4 if flags & 2 else 0) + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    if frame[lame : lame + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return None
    both = int.from_bytes(frame[lame + 21 : lame + 24], "big")
    samples = frames * _frame_samples(frame) - (both >> 12) - (both & 0xFFF)
    return samples if samples > 0 else None


# --- Ogg pages (RFC 3533). libsndfile makes a stream's serial number from the time of day. Equal stems must have equal
# bytes, so `set_serial` replaces that number.

_SERIAL, _CHECKSUM, _SEGMENTS = slice(14, 18), slice(22, 26), 26
_FIRST = 2  # header flag of the page that begins a stream
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class OggPages:
    """What `read_ogg_pages` found in a file."""

    links: int  # how many streams follow one another
    whole: bool  # no page is cut off, lost or damaged


def read_ogg_pages(path: Path) -> OggPages:
    """Check every page of a file against its checksum."""
    links, whole, in_head = 0, True, False
    with path.open("rb") as file:
        for page in _pages(file):
            whole = whole and page[_CHECKSUM] == page_checksum(page)
            first = bool(page[5] & _FIRST)
            links += first and not in_head  # first pages in a row are tracks of the same link
            in_head = first
        lost = b"OggS" in file.read(1 << 17)
    return OggPages(links, whole and not lost)


def set_serial(file: BinaryIO, serial: int) -> None:
    """Write another serial number, and the checksum that follows from it, into every page of a file with one stream."""
    for page in _pages(file):
        page[_SERIAL] = serial.to_bytes(4, "little")
        page[_CHECKSUM] = page_checksum(page)
        file.seek(-len(page), os.SEEK_CUR)
        file.write(page)


def page_checksum(page: bytearray) -> bytes:
    """Return the checksum of a page: a CRC-32 with polynomial 0x04C11DB7, bits not reflected, initial value 0.

    zlib's CRC-32 reflects the bits and has another initial value, so the bits are reversed before and after.
    """
    blank = bytes(page[: _CHECKSUM.start]) + bytes(4) + bytes(page[_CHECKSUM.stop :])
    mirrored = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_REVERSED)


def _pages(file: BinaryIO) -> Iterator[bytearray]:
    """Yield each page of a file, and leave the file's position at the end of that page.

    Stops at the first bytes that are no page. The last page may be cut off.
    """
    file.seek(0)
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        lacing = file.read(head[_SEGMENTS])
        yield bytearray(head + lacing + file.read(sum(lacing)))
    file.seek(-len(head), os.SEEK_CUR)
