"""The box that makes an MP4 a stem file of Native Instruments: `moov/udta/stem`, JSON with names and colours.

Such a file has five stereo tracks: the song, which any player plays, and four stems, which are switched off. In the
box each stem has a name and a colour, and a compressor and a limiter for their sum, which are switched off here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

COLOURS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")
"""Of the stems, in their order: of Okabe and Ito's palette, which people with any kind of sight can tell apart."""
_COMPRESSOR = {
    "enabled": False,
    "input_gain": 0.5,
    "output_gain": 0.5,
    "threshold": 0,
    "dry_wet": 50,
    "attack": 0.003,
    "release": 0.3,
    "ratio": 3,
    "hp_cutoff": 300,
}
_LIMITER = {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35}
_HEAD = 8  # bytes of a box before what it holds: its length and its name


def stem_text(names: Sequence[str]) -> bytes:
    """Return what the box holds for stems of these names."""
    stems = [{"name": name, "color": colour} for name, colour in zip(names, COLOURS, strict=True)]
    said = {"version": 1, "mastering_dsp": {"compressor": _COMPRESSOR, "limiter": _LIMITER}, "stems": stems}
    return json.dumps(said, separators=(",", ":")).encode()


def add_stem_box(file: BinaryIO, text: bytes) -> None:
    """Put the box into a finished MP4, whose `moov` is the last of its boxes, so that no sound moves.

    Raises: ValueError if it is not; OSError.
    """
    size = file.seek(0, os.SEEK_END)
    *_, (name, start, end) = _boxes(file, 0, size)
    if name != b"moov" or end != size:
        raise ValueError("moov is not the last box of the file")
    file.seek(start)
    moov = file.read(size - start)
    file.seek(start)
    file.write(_with_stem(moov, text))
    file.truncate()


def read_stem_box(file: BinaryIO) -> bytes | None:
    """Return what the box of a file holds; None if there is none."""
    place = (0, file.seek(0, os.SEEK_END))
    for wanted in (b"moov", b"udta", b"stem"):
        inside = (one for one in _boxes(file, *place) if one[0] == wanted)
        if (found := next(inside, None)) is None:
            return None
        place = (found[1] + _HEAD, found[2])
    file.seek(place[0])
    return file.read(place[1] - place[0])


def _with_stem(moov: bytes, text: bytes) -> bytes:
    """Return a `moov` whose `udta` has the box at its end."""
    at, rest, udta = _HEAD, b"", b""
    while at < len(moov):
        end = at + int.from_bytes(moov[at : at + 4], "big")
        if moov[at + 4 : at + 8] == b"udta":
            udta = moov[at + _HEAD : end]
        else:
            rest += moov[at:end]
        at = max(end, at + _HEAD)
    return _box(b"moov", rest + _box(b"udta", udta + _box(b"stem", text)))


def _box(name: bytes, inside: bytes) -> bytes:
    return (_HEAD + len(inside)).to_bytes(4, "big") + name + inside


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the boxes between two places of a file."""
    while start + _HEAD <= stop:
        file.seek(start)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        size = {0: stop - start, 1: int.from_bytes(head[8:16], "big")}.get(size, size)  # to the end; in 64 bits
        if size < _HEAD:
            return
        yield head[4:8], start, start + size
        start += size
