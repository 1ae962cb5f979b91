"""Files made of chunks: WAV, RF64, W64, AIFF, CAF, and AU. Where their samples lie, and whether that is true.

A header can state less than is there: a size past 4 GiB wraps, and a recorder that crashed leaves an old one. It can
state more: the file was cut off. Programs that write to a pipe state 0, 0xFFFFFFFF or the like, which says nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from stemsplit.audio.containers.tags import id3_size, sound_end, sound_start
from stemsplit.audio.containers.view import View, most_steps

_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_SLOPPY_BYTES = 64  # some programs count the header as samples, so that few bytes more or less are no damage
_TAIL = 1 << 20  # bytes; other chunks than that of the samples are smaller
_PADDING = 4096  # so many zeros behind the samples fill up a sector
_WRAP = 1 << 32


@dataclass(frozen=True)
class Field:
    """Where a header states the size of the samples: `size` bytes, and the size counts `extra` bytes besides them."""

    at: int
    size: int
    order: Literal["little", "big"]
    extra: int = 0

    def stating(self, size: int) -> tuple[int, bytes]:
        """Return the patch that states another size."""
        return self.at, (size + self.extra).to_bytes(self.size, self.order)


@dataclass(frozen=True)
class Samples:
    """Where the samples of a file lie.

    Attributes:
        kind: which kind of chunks.
        start: their first byte.
        size: their bytes, as the header states it; None if it does not.
        field: where it does.
    """

    kind: str
    start: int
    size: int | None
    field: Field


@dataclass(frozen=True)
class Chunked:
    """What is true of a file made of chunks.

    Attributes:
        view: what its decoder is to see.
        missing: bytes of samples that the header states and that are not there.
        surplus: bytes of samples that are there and that the header does not state.
        large: the samples take more bytes than the header can state; libsndfile would not read them all.
        following: where another file begins that was joined to this one; None if there is none.
    """

    view: View
    missing: int = 0
    surplus: int = 0
    large: bool = False
    following: int | None = None


def read_chunks(path: Path, start: int | None = None) -> Chunked | None:
    """Compare what the header of a file states with the file.

    Args:
        path: the file.
        start: where it begins, if it is joined to another one; by default behind the tags.

    Returns:
        what was found; None if the file is not made of chunks.
    """
    with path.open("rb") as file:
        view = View(sound_start(file) if start is None else start)
        samples = _find_samples(file, view.start)
        if samples is None:
            return None
        size = file.seek(0, os.SEEK_END)
        if samples.size is None:
            return Chunked(view)
        if (missing := samples.start + samples.size - size) > 0:
            return Chunked(view, missing=missing if missing > _SLOPPY_BYTES else 0)
        end = _true_end(file, samples, samples.size)
        following = _following(file, samples, end)
        # libsndfile reads on into what follows the samples of a W64.
        view = replace(view, end=end if samples.kind == "w64" else following)
    surplus = end - samples.start - samples.size
    if surplus <= _SLOPPY_BYTES:
        return Chunked(view, following=following)
    true_size = samples.size + surplus
    if true_size + samples.field.extra >= 1 << 8 * samples.field.size:
        unknown = View(view.start, end, ((samples.field.at, b"\xff" * samples.field.size),))
        return Chunked(unknown, surplus=surplus, large=True)
    return Chunked(replace(view, end=end, patches=(samples.field.stating(true_size),)), surplus=surplus)


def _find_samples(file: BinaryIO, start: int) -> Samples | None:
    file.seek(start)
    head = file.read(16)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _riff_samples(file, start + 12)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff_samples(file, start + 12)
    if head[:4] == b"riff":
        return _w64_samples(file, start + 40)
    if head[:4] == b"caff":
        return _caf_samples(file, start + 8)
    if head[:4] == b".snd":
        size = int.from_bytes(head[8:12], "big")
        at = start + int.from_bytes(head[4:8], "big")
        return Samples("au", at, _stated(size), Field(start + 8, 4, "big"))
    return None


def _heads(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the head of a chunk, of `size` bytes, wherever the caller has moved to, until the file ends."""
    at = file.tell()
    most = most_steps(file.seek(0, os.SEEK_END))
    file.seek(at)
    for _ in range(most):
        if len(head := file.read(size)) < size:
            return
        yield head


def _stated(size: int) -> int | None:
    """Return a size of 32 bits, or None if it is one of those that stand for "unknown"."""
    unknown = size == 0 or size >= 0xFFFFFF00 or 0x7FFFF000 <= size <= 0x80000100
    return None if unknown else size


def _riff_samples(file: BinaryIO, at: int) -> Samples | None:
    file.seek(at)
    long_size, field = 0, None
    for head in _heads(file, 8):
        name, size = head[:4], int.from_bytes(head[4:], "little")
        here = file.tell()
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
            field = Field(here + 8, 8, "little")
        elif name == b"data" and field is not None and size in (0, 0xFFFFFFFF):
            return Samples("riff", here, long_size or None, field)
        elif name == b"data":
            return Samples("riff", here, _stated(size), Field(here - 4, 4, "little"))
        file.seek(here + size + size % 2)
    return None


def _aiff_samples(file: BinaryIO, at: int) -> Samples | None:
    file.seek(at)
    for head in _heads(file, 8):
        size, here = int.from_bytes(head[4:], "big"), file.tell()
        if head[:4] == b"SSND":
            stated = _stated(size)
            return Samples("aiff", here + 8, stated and max(0, stated - 8), Field(here - 4, 4, "big", 8))
        file.seek(here + size + size % 2)
    return None


def _w64_samples(file: BinaryIO, at: int) -> Samples | None:
    file.seek(at)
    for head in _heads(file, 24):
        size, here = int.from_bytes(head[16:], "little"), file.tell()  # includes the 24 bytes of this header
        if head[:16] == _W64_DATA:
            return Samples("w64", here, size - 24 if 24 < size < 1 << 62 else None, Field(here - 8, 8, "little", 24))
        if not 24 <= size < 1 << 62:
            return None
        file.seek(here + (size - 24 + 7) // 8 * 8)
    return None


def _caf_samples(file: BinaryIO, at: int) -> Samples | None:
    file.seek(at)
    for head in _heads(file, 12):
        size, here = int.from_bytes(head[4:], "big", signed=True), file.tell()  # -1: until the end of the file
        if head[:4] == b"data":  # four bytes that count edits stand before the samples
            return Samples("caf", here + 4, size - 4 if size > 4 else None, Field(here - 8, 8, "big", 4))
        if not 0 <= size < 1 << 62:
            return None
        file.seek(here + size)
    return None


# --- What follows the samples: other chunks and tags, another file, or more samples.


def _following(file: BinaryIO, samples: Samples, end: int) -> int | None:
    """Return where another WAV or AIFF begins behind this one; None if nowhere."""
    at = _aligned(end, samples)
    for _ in range(most_steps(end) if samples.kind in ("riff", "aiff") else 0):
        file.seek(at)
        head = file.read(24)
        name, size = _chunk_head(samples.kind, head)
        if name in (b"RIFF", b"RF64", b"FORM") and head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
            return at
        if len(head) < 24 or not _is_name(name):
            break
        at += size + size % 2
    return None


def _true_end(file: BinaryIO, samples: Samples, size: int) -> int:
    """Return where the samples end, which is later than the header states if what follows is neither chunks nor tags.

    A size of 32 bits may have wrapped: then it is tried with 4 GiB more, and so on.
    """
    limit = sound_end(file)
    ends = range(samples.start + size, limit + 1, _WRAP if samples.field.size == 4 else 1 << 62)
    for end in ends:
        if any(_is_rest(file, samples.kind, at, limit) for at in (end, _aligned(end, samples))):
            return end
    if not ends:
        return samples.start + size
    return _chunks_before(file, samples.kind, max(ends[0], limit - _TAIL), limit)


def _chunks_before(file: BinaryIO, kind: str, begin: int, limit: int) -> int:
    """Return where known chunks begin that fill the last bytes of a file; `limit` if there are none."""
    file.seek(begin)
    tail = file.read(limit - begin)
    found = sorted(at for name in _NAMES for at in _places(tail, name))
    tried = set[int]()
    return next((begin + at for at in found if _is_rest(file, kind, begin + at, limit, tried)), limit)


def _places(data: bytes, name: bytes) -> Iterator[int]:
    at = -1
    while (at := data.find(name, at + 1)) >= 0:
        yield at


_ALIGN = {"riff": 2, "aiff": 2, "w64": 8}  # chunks begin at multiples of this
_NAMES = {
    name.ljust(4).encode()
    for name in (
        *("LIST", "list", "id3", "ID3", "bext", "cue", "smpl", "inst", "fact", "JUNK", "junk", "PAD", "FLLR", "iXML"),
        *("axml", "_PMX", "NAME", "AUTH", "ANNO", "COMT", "MARK", "INST", "APPL", "CHAN", "MIDI", "AESD", "info"),
        *("strg", "mark", "regn", "umid", "free", "uuid", "peak", "midi", "pakt", "chan"),
    )
}
"""Chunks that are known not to be samples, even if the file ends inside of them."""


def _aligned(end: int, samples: Samples) -> int:
    """Return where the chunk after the samples begins."""
    align = _ALIGN.get(samples.kind, 1)
    return samples.start + (end - samples.start + align - 1) // align * align


def _is_rest(file: BinaryIO, kind: str, at: int, limit: int, tried: set[int] | None = None) -> bool:
    """Return whether chunks, or a few bytes of padding, fill a file from a position to its end.

    `tried` collects the positions from which they do not, so that no way is gone twice.
    """
    align, tried = _ALIGN.get(kind, 1), set() if tried is None else tried
    for _ in range(most_steps(limit)):
        if limit - at <= _SLOPPY_BYTES:
            break
        if at in tried:
            return False
        tried.add(at)
        file.seek(at)
        head = file.read(24)
        name, size = _chunk_head(kind, head)
        if tag := id3_size(name + head[4:10]):
            at += tag
            continue
        if name in _NAMES and limit < at + size < limit + _TAIL:
            return True
        if kind == "au" or not _is_name(name) or size < 8 or at + size > limit + _SLOPPY_BYTES:
            return _is_padding(file, at, limit)
        at += (size + align - 1) // align * align
    return True


def _chunk_head(kind: str, head: bytes) -> tuple[bytes, int]:
    """Return the name of a chunk, and its size together with its head, in bytes."""
    if kind == "w64":
        return head[:4], int.from_bytes(head[16:24], "little")
    if kind == "caf":
        return head[:4], int.from_bytes(head[4:12], "big") + 12
    return head[:4], int.from_bytes(head[4:8], "big" if kind == "aiff" else "little") + 8


def _is_name(name: bytes) -> bool:
    return all(32 <= byte < 127 for byte in name) and any(chr(byte).isalpha() for byte in name)


def _is_padding(file: BinaryIO, at: int, limit: int) -> bool:
    file.seek(at)
    return limit - at <= _PADDING and not any(file.read(limit - at))
