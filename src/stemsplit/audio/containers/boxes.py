"""Containers of boxes: MP4, Matroska, AVI, ASF, DSDIFF, DSF. How many bytes they state, against how many there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from stemsplit.audio.containers.view import most_steps

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_MASTERS = (_SEGMENT, _CLUSTER)
_MP4_BOXES = {
    *(b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"styp", b"sidx", b"mfra", b"pnot", b"uuid"),
    *(b"emsg", b"prft", b"meta", b"mfro"),
}


def missing_bytes(path: Path) -> int:
    """Return how many bytes are missing at the end of an MP4, Matroska, AVI, ASF, DSDIFF or DSF file; else 0."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(20)
        if head[4:8] in _MP4_BOXES:
            end = _mp4_end(file, size)
        elif head[:4] == _EBML:
            end = _matroska_end(file, size)
        elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            end = _avi_end(file, size)
        elif head[:16] == _ASF_HEADER:
            end = _asf_end(file, size)
        elif head[:4] == b"FRM8":  # DSDIFF
            end = 12 + int.from_bytes(head[4:12], "big")
        elif head[:4] == b"DSD ":  # DSF
            end = int.from_bytes(head[12:20], "little")
        else:
            end = 0
    return max(0, end - size)


def strange_bytes(path: Path) -> int:
    """Return how many bytes of a fragmented MP4 follow that are no boxes; 0 for other files.

    FFmpeg would end there without an error.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        end, fragmented = 0, False
        for at, name, box in islice(_mp4_boxes(file, size), most_steps(size)):
            end, fragmented = at + box, fragmented or name == b"moof"
    return max(0, size - end) if fragmented else 0


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Return where the last known box ends. What follows the boxes may be anything."""
    return max((at + box for at, _, box in islice(_mp4_boxes(file, size), most_steps(size))), default=0)


def _mp4_boxes(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield position, name and size of the known boxes at the start of a file."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        name, box = head[4:8], int.from_bytes(head[:4], "big")
        if name not in _MP4_BOXES:
            return
        box = {0: size - at, 1: int.from_bytes(head[8:16], "big")}.get(box, box)  # 0: until the end of the file
        if box < 8:
            return
        yield at, name, box
        at += box


def _matroska_end(file: BinaryIO, file_size: int) -> int:
    """Return where the segment ends; 0 if that is unknown, as in a live stream."""
    file.seek(4)
    header = _ebml_number(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    size = _ebml_number(file)
    return _last_element_end(file, most_steps(file_size)) if size is None else file.tell() + size


def _last_element_end(file: BinaryIO, most: int) -> int:
    """Return where the last element of a live stream ends; 0 if something else follows its elements, or `most` do."""
    at = end = file.tell()
    for _ in range(most):
        file.seek(at)
        first = file.read(1)
        if not first:
            return end
        name = first + file.read(max(0, 8 - first[0].bit_length()))
        size = _ebml_number(file)
        at = file.tell()
        if name in _MASTERS and size is None:
            continue  # its elements follow
        if first < b"\x10" or size is None:
            return 0
        at = end = at + size
    return 0


def _ebml_number(file: BinaryIO) -> int | None:
    """Read a number of 1 to 8 bytes, whose length is told by leading zeros. All ones mean that it is unknown."""
    first = file.read(1)
    if not first or first == b"\0":
        return None
    length = 9 - first[0].bit_length()
    mask = (1 << 7 * length) - 1
    number = int.from_bytes(first + file.read(length - 1), "big") & mask
    return None if number == mask else number


def _avi_end(file: BinaryIO, size: int) -> int:
    """Return where the last of the RIFF chunks ends: a file of more than 1 GiB has several."""
    end = at = 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] not in (b"AVI ", b"AVIX"):
            break
        stated = int.from_bytes(head[4:8], "little")
        if stated in (0, 0xFFFFFFFF):
            break
        end = at = at + 8 + stated + stated % 2
    return end


def _asf_end(file: BinaryIO, file_size: int) -> int:
    """Return the size of the file by its properties; 0 if it is a live stream, which does not say."""
    file.seek(16)
    header = file.read(14)
    count, at = int.from_bytes(header[8:12], "little"), 30
    for _ in range(min(count, 100)):
        if at >= file_size:
            break
        file.seek(at)
        head = file.read(24)
        if head[:16] == _ASF_FILE_PROPERTIES:
            body = file.read(68)
            live = bool(body[64] & 1) if len(body) == 68 else True
            return 0 if live else int.from_bytes(body[16:24], "little")
        at += max(24, int.from_bytes(head[16:], "little"))
    return 0
