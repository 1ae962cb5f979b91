"""The exact length of an MP3.

A decoder returns whole frames. How many of their samples are the encoder's delay and padding is stated only in the
Xing/LAME frame at the start (Taylor, "Mp3 Info Tag rev 1"). An MP3 without it does not state its exact length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stemsplit.audio.containers.tags import sound_start

_BOTH, _CHECKSUM = 21, 34  # where, in a LAME tag, delay and padding are, of 12 bits each, and the checksum


@dataclass(frozen=True)
class MpegHeader:
    """What the first frame of an MPEG audio file states.

    Attributes:
        samples: per channel, without delay and padding; None if the frame has no LAME tag.
        whole: per channel, with delay and padding; None if the frame has neither a Xing nor a VBRI tag.
    """

    samples: int | None
    whole: int | None


def read_mpeg_header(path: Path) -> MpegHeader | None:
    """Read the first frame of a file. Return None if it is not MPEG audio (layer I, II or III)."""
    with path.open("rb") as file:
        file.seek(sound_start(file))
        frame = file.read(256).ljust(256, b"\0")
    if not _is_frame(frame):
        return None
    return MpegHeader(_tagged_samples(frame), _tagged_frames(frame) * _frame_samples(frame) or None)


def _is_frame(head: bytes) -> bool:
    sync = head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return sync and version != 1 and layer != 0 and bitrate != 15 and rate != 3


def _frame_samples(head: bytes | bytearray) -> int:
    layer, mpeg1 = 4 - (head[1] >> 1 & 3), head[1] >> 3 & 3 == 3
    return 384 if layer == 1 else 1152 if layer == 2 or mpeg1 else 576


def _tag_place(frame: bytes | bytearray) -> int:
    """Return where the Xing tag of a frame is, if it has one."""
    mpeg1, mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    return 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))


def _tagged_frames(frame: bytes | bytearray) -> int:
    """Return how many frames follow the first one; 0 if that is not stated."""
    tag = _tag_place(frame)
    if frame[tag : tag + 4] in (b"Xing", b"Info") and frame[tag + 7] & 1:
        return int.from_bytes(frame[tag + 8 : tag + 12], "big")
    return int.from_bytes(frame[50:54], "big") if frame[36:40] == b"VBRI" else 0


def _lame_place(frame: bytes | bytearray) -> int | None:
    """Return where the LAME tag of a frame is; None if it has none."""
    tag = _tag_place(frame)
    if frame[tag : tag + 4] not in (b"Xing", b"Info") or not _tagged_frames(frame):
        return None
    flags = frame[tag + 7]
    lame = tag + 12 + (4 if flags & 2 else 0) + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    return lame if frame[lame : lame + 4] in (b"LAME", b"Lavf", b"Lavc") else None


def _tagged_samples(frame: bytes) -> int | None:
    if (lame := _lame_place(frame)) is None:
        return None
    both = int.from_bytes(frame[lame + _BOTH : lame + _BOTH + 3], "big")
    samples = _tagged_frames(frame) * _frame_samples(frame) - (both >> 12) - (both & 0xFFF)
    return samples if samples > 0 else None


def set_samples(file: BinaryIO, samples: int) -> None:
    """State the exact length of an MP3 without tags, in samples per channel, in its LAME tag.

    FFmpeg states up to 46 too many where the padding is longer than a frame.
    """
    file.seek(0)
    frame = bytearray(file.read(256))
    lame = _lame_place(frame)
    if lame is None:
        return
    delay = int.from_bytes(frame[lame + _BOTH : lame + _BOTH + 3], "big") >> 12
    padding = _tagged_frames(frame) * _frame_samples(frame) - delay - samples
    if not 0 <= padding <= 0xFFF:
        return
    frame[lame + _BOTH : lame + _BOTH + 3] = (delay << 12 | padding).to_bytes(3, "big")
    frame[lame + _CHECKSUM : lame + _CHECKSUM + 2] = _checksum(frame[: lame + _CHECKSUM]).to_bytes(2, "big")
    file.seek(0)
    file.write(frame)


def _checksum(data: bytes | bytearray) -> int:
    """Return the CRC-16 of a LAME tag, whose polynomial is x¹⁶ + x¹⁵ + x² + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value
