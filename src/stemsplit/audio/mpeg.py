"""The exact length of an MP3, from the Xing/LAME frame that encoders put first.

A decoder returns whole frames; the encoder's own delay and padding are written only in this tag (Taylor, "Mp3
Info Tag rev 1"). Without the tag an MP3 does not say how long it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MpegHeader:
    """``samples``: exactly, per channel; None without a tag. ``frame_samples``: in one MPEG frame."""

    samples: int | None
    frame_samples: int


def read_mpeg_header(path: Path) -> MpegHeader | None:
    """Look at the start of a file; None when it is no MPEG audio (layer I, II or III)."""
    with path.open("rb") as file:
        file.seek(_id3_size(file.read(10)))
        frame = file.read(256).ljust(256, b"\0")
    if not _is_frame(frame):
        return None
    return MpegHeader(_tagged_samples(frame), _frame_samples(frame))


def _id3_size(head: bytes) -> int:
    """Bytes of an ID3v2 tag at the start of a file (sizes hold seven bits a byte), 0 when there is none."""
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
