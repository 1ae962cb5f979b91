"""Ogg pages with a chosen serial number: libsndfile draws one from the clock, but equal stems have equal
bytes."""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

_SERIAL, _CHECKSUM, _SEGMENTS = 14, 22, 26  # offsets in a page header (RFC 3533, section 6)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def set_serial(file: BinaryIO, serial: int) -> None:
    """Rewrite the serial number and checksum of every page of an open Ogg file that holds one stream."""
    file.seek(0)
    while len(head := bytearray(file.read(27))) == 27:
        lacing = file.read(head[_SEGMENTS])
        body = file.read(sum(lacing))
        head[_SERIAL : _SERIAL + 4] = serial.to_bytes(4, "little")
        head[_CHECKSUM : _CHECKSUM + 4] = bytes(4)
        head[_CHECKSUM : _CHECKSUM + 4] = page_checksum(bytes(head) + lacing + body)
        file.seek(-(27 + len(lacing) + len(body)), os.SEEK_CUR)
        file.write(head)
        file.seek(len(lacing) + len(body), os.SEEK_CUR)


def page_checksum(page: bytes) -> bytes:
    """CRC-32 as Ogg has it (polynomial 0x04C11DB7, bits not reflected), from zlib's reflected one."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_REVERSED)
