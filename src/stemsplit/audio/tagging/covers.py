"""Cover art: the picture in front of a song, from every kind of file that holds one, and into those that can."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FRONT = 3
"""The type of a picture that is the front cover, in ID3, FLAC and ASF."""
LARGEST_BYTES = 2**24 - 2**10
"""What a picture may have at most: FLAC counts the bytes of a block with 24 bits."""
_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
    b"BM": "image/bmp",
}


@dataclass(frozen=True)
class Cover:
    """A picture as it stands in the file."""

    data: bytes
    mime: str


def cover_from(pictures: list[tuple[int, bytes]]) -> Cover | None:
    """Return the front cover of (type, bytes), or else the first picture; None if nothing in it is one."""
    images = [(kind, data, mime) for kind, data in pictures if (mime := _mime(data)) is not None]
    chosen = next((image for image in images if image[0] == FRONT), images[0] if images else None)
    return None if chosen is None else Cover(chosen[1], chosen[2])


def cover_of(file: Any) -> Cover | None:
    """Return the cover of a file, an object of mutagen."""
    return cover_from([(kind, data) for kind, data in _pictures(file) if data])


def as_flac_picture(cover: Cover) -> Any:
    """Return a cover as FLAC and the comments of Ogg hold it. Its size in pixels is left open, as 0."""
    from mutagen.flac import Picture

    kind: Any = Picture  # Any: mutagen has no types
    picture = kind()
    picture.type, picture.mime, picture.data = FRONT, cover.mime, cover.data
    return picture


def as_comment(cover: Cover) -> str:
    """Return a cover as the text of a METADATA_BLOCK_PICTURE comment."""
    return base64.b64encode(as_flac_picture(cover).write()).decode("ascii")


def _mime(data: bytes) -> str | None:
    return next((mime for magic, mime in _MAGIC.items() if data.startswith(magic)), None)


def _pictures(file: Any) -> Iterator[tuple[int, bytes]]:
    from mutagen.flac import Picture

    read: Any = Picture
    tags, kind = file.tags, type(file.tags).__name__
    for picture in getattr(file, "pictures", ()):
        yield picture.type, picture.data
    if not tags:
        return
    if hasattr(tags, "getall"):
        for frame in tags.getall("APIC"):
            yield int(frame.type), frame.data
    elif kind == "MP4Tags":
        for image in tags.get("covr", ()):
            yield FRONT, bytes(image)
    elif kind == "APEv2":
        for name, value in tags.items():
            if name.lower().startswith("cover art") and value.kind == 1:  # a file's name, 0, the file
                yield FRONT if "front" in name.lower() else 0, bytes(value.value).partition(b"\0")[2]
    elif kind == "ASFTags":
        for value in tags.get("WM/Picture", ()):
            yield _asf_picture(bytes(value.value))
    else:
        for text in tags.get("metadata_block_picture", ()):
            picture = read(base64.b64decode(text))
            yield picture.type, picture.data
        for text in tags.get("coverart", ()):
            yield FRONT, base64.b64decode(text)


def _asf_picture(data: bytes) -> tuple[int, bytes]:
    """Return type and bytes: a type, a size of 32 bits, MIME type and description in UTF-16 up to a 0, the picture."""
    size, at = int.from_bytes(data[1:5], "little"), 5
    for _ in range(2):
        while at + 1 < len(data) and data[at : at + 2] != b"\0\0":
            at += 2
        at += 2
    return data[0] if data else 0, data[at : at + size]
