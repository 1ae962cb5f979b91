"""MPEG transport streams (ISO/IEC 13818-1): they state no length, but every packet of sound in them does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_PACKET_BYTES = 188
_LOOKED_AT = 5000  # packets at the end of the file
_SOUND = (0xBD, *range(0xC0, 0xE0))  # stream ids of private streams, such as AC-3, and of MPEG audio


def _is_transport_stream(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(_PACKET_BYTES * 5)[::_PACKET_BYTES] == b"GGGGG"


def ends_inside(path: Path) -> bool:
    """Return whether a transport stream ends inside of one of its packets, or of a packet of sound."""
    with path.open("rb") as file:
        if not _is_transport_stream(file):
            return False
        count, rest = divmod(file.seek(0, os.SEEK_END), _PACKET_BYTES)
        if rest:
            return True
        file.seek(max(0, count - _LOOKED_AT) * _PACKET_BYTES)
        open_bytes: dict[int, int] = {}  # track → bytes that are still to come
        while len(packet := file.read(_PACKET_BYTES)) == _PACKET_BYTES:
            track = (packet[1] & 0x1F) << 8 | packet[2]
            payload = packet[5 + packet[4] :] if packet[3] & 0x20 else packet[4:]
            if packet[1] & 0x40:  # a packet of the track begins
                sound = payload[:3] == b"\0\0\1" and len(payload) > 5 and payload[3] in _SOUND
                size = int.from_bytes(payload[4:6], "big") if sound else 0
                open_bytes[track] = size + 6 if size else 0
            if packet[3] & 0x10 and track in open_bytes:
                open_bytes[track] -= len(payload)
    return any(left > 0 for left in open_bytes.values())
