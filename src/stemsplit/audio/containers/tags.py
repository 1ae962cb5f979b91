"""Where tags lie around the sound of a file: ID3v2 in front, ID3v1, APE, Lyrics3 and ID3v2 behind."""

from __future__ import annotations

import os
from typing import BinaryIO


def sound_start(file: BinaryIO) -> int:
    """Return how many bytes the ID3v2 tags at the start of a file take; 0 if there are none."""
    start = 0
    file.seek(0)
    while size := id3_size(file.read(10)):
        start = file.seek(start + size)
    return start


def id3_size(head: bytes) -> int:
    """Return the bytes of the ID3v2 tag that begins with these ten bytes; 0 if none does.

    Sizes in ID3v2 have seven bits in each byte.
    """
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return size + (20 if head[5] & 0x10 else 10)


def sound_end(file: BinaryIO) -> int:
    """Return the position at which the tags at the end of a file begin; its size if there are none."""
    end = file.seek(0, os.SEEK_END)
    while size := _tag_before(file, end):
        end -= size
    return end


def _tag_before(file: BinaryIO, end: int) -> int:
    """Return the bytes of the tag that ends at a position; 0 if none does."""
    file.seek(max(0, end - 128))
    last = file.read(min(end, 128))
    size = 0
    if last[-128:-125] == b"TAG" and len(last) == 128:
        size = 128
    elif last[-32:-24] == b"APETAGEX":
        header = 32 if last[-9] & 0x80 else 0  # the top bit of the flags: there is a header, too
        size = int.from_bytes(last[-20:-16], "little") + header
    elif last[-9:] == b"LYRICS200" and last[-15:-9].isdigit():
        size = int(last[-15:-9]) + 15
    elif last[-10:-7] == b"3DI":
        size = id3_size(b"ID3" + last[-7:])
    return size if 0 < size <= end else 0
