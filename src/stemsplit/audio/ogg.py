"""Ogg pages (RFC 3533): whether a file's are whole, and a serial number of our own choice.

libsndfile draws the serial number from the clock, but equal stems shall have equal bytes. When it reads, it steps over
damaged pages without a word and stops where the first of several joined streams ends.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SERIAL, _CHECKSUM, _SEGMENTS = slice(14, 18), slice(22, 26), 26
_FIRST = 2  # header flag of the page that begins a stream
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class OggPages:
    """``links``: streams one after the other; ``whole``: no page is cut off, lost or damaged."""

    links: int
    whole: bool


def read_ogg_pages(path: Path) -> OggPages:
    """Check every page of a file against its checksum."""
    links, whole, in_head = 0, True, False
    with path.open("rb") as file:
        for page in _pages(file):
            whole = whole and page[_CHECKSUM] == page_checksum(page)
            first = bool(page[5] & _FIRST)
            links += first and not in_head  # the tracks of one link all begin together
            in_head = first
        lost = b"OggS" in file.read(1 << 17)
    return OggPages(links, whole and not lost)


def set_serial(file: BinaryIO, serial: int) -> None:
    """Give every page of an open file that holds one stream another serial number, and its checksum anew."""
    for page in _pages(file):
        page[_SERIAL] = serial.to_bytes(4, "little")
        page[_CHECKSUM] = page_checksum(page)
        file.seek(-len(page), os.SEEK_CUR)
        file.write(page)


def page_checksum(page: bytearray) -> bytes:
    """CRC-32 as Ogg has it (polynomial 0x04C11DB7, bits not reflected, from 0), made of zlib's reflected one."""
    blank = bytes(page[: _CHECKSUM.start]) + bytes(4) + bytes(page[_CHECKSUM.stop :])
    mirrored = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_REVERSED)


def _pages(file: BinaryIO) -> Iterator[bytearray]:
    """Each page from the start, the file being left behind it; ends at what is no page. The last may be cut off."""
    file.seek(0)
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        lacing = file.read(head[_SEGMENTS])
        yield bytearray(head + lacing + file.read(sum(lacing)))
    file.seek(-len(head), os.SEEK_CUR)
