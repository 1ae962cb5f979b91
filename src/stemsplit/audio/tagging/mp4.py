"""Tags and cover art into an MP4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemsplit.audio.tagging.covers import Cover
from stemsplit.audio.tagging.names import MP4, MP4_FREE

_KEYS = {name: key for key, name in MP4.items()}
_LARGEST = 2**16 - 1  # of the numbers of a track, and of beats per minute


def write_mp4(target: Path, fields: Mapping[str, tuple[str, ...]], cover: Cover | None) -> None:
    """Write tags and a cover into an MP4; what has no place of its own goes where Apple's programs keep such things.

    Raises: mutagen.MutagenError; ValueError if the picture is of a kind that an MP4 cannot hold: the tags are written.
    """
    from mutagen import mp4

    opened, picture, free = _untyped(mp4.MP4, mp4.MP4Cover, mp4.MP4FreeForm)
    file = opened(target)
    if file.tags is None:
        file.add_tags()
    for name, values in fields.items():
        if not name or not values:
            continue
        if (own := _own(name, values)) is not None:
            file.tags[_KEYS[name]] = own
        else:
            file.tags[MP4_FREE + name] = [free(value.encode("utf-8", "replace")) for value in values]
    kinds = {"image/jpeg": picture.FORMAT_JPEG, "image/png": picture.FORMAT_PNG}
    if cover is not None and cover.mime in kinds:
        file.tags["covr"] = [picture(cover.data, imageformat=kinds[cover.mime])]
    file.save()
    if cover is not None and cover.mime not in kinds:
        raise ValueError(f"m4a has no place for a cover of type {cover.mime}")


def _untyped(*kinds: Any) -> Any:  # mutagen has no types
    return kinds


def _own(name: str, values: tuple[str, ...]) -> list[Any] | None:
    """Return values as the atom of this name holds them; None if there is none, or if it cannot hold them."""
    if name in ("tracknumber", "discnumber"):
        found = [re.fullmatch(r"(\d{1,5})(?:/(\d{1,5}))?", value.strip()) for value in values]
        pairs = [(int(match[1]), int(match[2] or 0)) for match in found if match]
        return pairs if len(pairs) == len(values) and max(map(max, pairs)) <= _LARGEST else None
    if name == "bpm":
        return [int(value) for value in values] if all(re.fullmatch(r"\d{1,4}", value) for value in values) else None
    return list(values) if name in _KEYS else None
