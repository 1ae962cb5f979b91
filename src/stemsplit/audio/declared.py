"""What a container's own headers promise, against the bytes that are there.

libsndfile shortens a file that was cut off to what is left of it, and says nothing. These checks say it.
Sizes that no file has (0, 0xFFFFFFFF and the like) are what programs write into pipes: they promise nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_RIFF_SIZE_UNKNOWN = 0x7FFFF000  # SoX and others write 0x7FFFF000 + header, FFmpeg 0xFFFFFFFF
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


def missing_bytes(path: Path) -> int:
    """Bytes of samples that a WAV, RF64, W64, AIFF or CAF header promises beyond the end of the file (0: none)."""
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
        size = int.from_bytes(head[16:], "little")  # counts its own 24 bytes of header
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
