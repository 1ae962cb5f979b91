"""Ogg pages (RFC 3533): their checksums, and the serial number of a stream.

libsndfile skips damaged pages, and stops at the end of the first of several joined streams, without an error. It makes
a stream's serial number from the time of day. Equal stems must have equal bytes, so `set_serial` replaces that number.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stemsplit.audio.containers.tags import sound_start

_SERIAL, _CHECKSUM, _SEGMENTS = slice(14, 18), slice(22, 26), 26
_FIRST, _LAST = 2, 4  # header flags of the pages that begin and end a stream
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class OggPages:
    """What `read_ogg_pages` found in a file."""

    links: tuple[int, ...]  # where each of the streams that follow one another begins
    streams: int  # how many there are at most at the same time
    whole: bool  # no page is cut off, lost or damaged
    ended: bool  # the last page is marked as the end of a stream


def read_ogg_pages(path: Path) -> OggPages:
    """Check every page of a file against its checksum."""
    links, streams, in_head, whole, ended = list[int](), 0, 0, True, False
    with path.open("rb") as file:
        for page in _pages(file, sound_start(file)):
            whole = whole and page[_CHECKSUM] == page_checksum(page)
            first = bool(page[5] & _FIRST)
            if first and not in_head:  # first pages in a row are tracks of the same link
                links.append(file.tell() - len(page))
            in_head = in_head + 1 if first else 0
            streams = max(streams, in_head)
            ended = bool(page[5] & _LAST)
        lost = b"OggS" in file.read(1 << 17)
    return OggPages(tuple(links), streams, whole and not lost, ended)


def set_serial(file: BinaryIO, serial: int) -> None:
    """Write another serial number, and the checksum that follows from it, into every page of a file with one stream."""
    for page in _pages(file, 0):
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


def _pages(file: BinaryIO, start: int) -> Iterator[bytearray]:
    """Yield each page of a file from a position on, and leave the file's position at the end of that page.

    Stops at the first bytes that are no page. The last page may be cut off.
    """
    file.seek(start)
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        lacing = file.read(head[_SEGMENTS])
        yield bytearray(head + lacing + file.read(sum(lacing)))
    file.seek(-len(head), os.SEEK_CUR)
