"""Where tags lie around the sound of a file: ID3v2 in front, ID3v1, APE, Lyrics3 and ID3v2 behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

_PLAIN_CHUNKS = (b"fmt ", b"data", b"fact", b"PEAK", b"JUNK", b"PAD ", b"id3 ", b"ID3 ")
_MOST_TAGS = 1000  # one after the other
_DSF_TAG = 20  # where a DSF file states the place of its tag, in eight bytes


def sound_start(file: BinaryIO) -> int:
    """Return how many bytes the ID3v2 tags at the start of a file take; 0 if there are none."""
    start = 0
    file.seek(0)
    for _ in range(_MOST_TAGS):
        if not (size := id3_size(file.read(10))):
            break
        start = file.seek(start + size)
    return start


def hiding_tags(path: Path, start: int) -> tuple[tuple[int, bytes], ...]:
    """Return the patches that hide the ID3v2 tags inside of a WAV, AIFF or DSF file that begins at a position.

    FFmpeg would read all of them, and a frame of a few bytes can inflate to hundreds of megabytes.
    """
    with path.open("rb") as file:
        file.seek(start)
        head = file.read(12)
        if head[:4] == b"DSD ":
            return ((start + _DSF_TAG, bytes(8)),)
        if (head[:4], head[8:]) not in ((b"RIFF", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC")):
            return ()
        order: Literal["little", "big"] = "little" if head[:4] == b"RIFF" else "big"
        return tuple((at, b"JUNK") for at, name in _chunks(file, order) if name.lower() == b"id3 ")


def may_hold_texts(path: Path) -> bool:
    """Return whether a file may hold texts beside an ID3 tag. A WAV of nothing but plain chunks does not."""
    with path.open("rb") as file:
        head = file.read(12)
        if (head[:4], head[8:]) != (b"RIFF", b"WAVE"):
            return True
        return any(name not in _PLAIN_CHUNKS for _, name in _chunks(file, "little"))


def _chunks(file: BinaryIO, order: Literal["little", "big"]) -> Iterator[tuple[int, bytes]]:
    """Yield the place and the name of each chunk of a WAV or AIFF, from where the file stands."""
    for _ in range(_MOST_TAGS):
        at, chunk = file.tell(), file.read(8)
        if len(chunk) < 8:
            return
        yield at, chunk[:4]
        size = int.from_bytes(chunk[4:], order)
        file.seek(at + 8 + size + size % 2)


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
    for _ in range(_MOST_TAGS):
        end -= (size := _tag_before(file, end))
        if not size:
            break
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
