"""Fields of a template that come from a song's tags: its artist, album, title and number.

What a tag says becomes a safe part of a name. Without the tag there is a word in its place: "unknown artist", "unknown
album", the file's own name for the title, "00" for the number. A song from a pipe has no tags yet, so it gets these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stemsplit.audio import read_tags

TAG_FIELDS: Mapping[str, tuple[str, ...]] = {
    "artist": ("artist", "albumartist"),
    "album": ("album",),
    "title": ("title",),
    "n": ("tracknumber",),
}
"""Field of a template → the tags that it is taken from, the first that is there."""
MOST_BYTES = 80
"""Of a value, so that several fit into one name."""
_UNSAFE = frozenset('/\\:*?"<>|')


def tag_fields(source: Path) -> dict[str, str]:
    """Return the fields of a song."""
    tags = read_tags(source, cover=False).fields if source.is_file() else {}
    said = {
        name: next((text for tag in wanted for text in tags.get(tag, ()) if text.strip()), "")
        for name, wanted in TAG_FIELDS.items()
    }
    number = said["n"].partition("/")[0].strip()
    said["n"] = number.zfill(2) if number.isascii() and number.isdigit() else "00"
    without = {"artist": "unknown artist", "album": "unknown album", "title": source.stem}
    return {name: _safe(text) or _safe(without.get(name, "")) or "none" for name, text in said.items()}


def _safe(text: str) -> str:
    """Return text as it can be a part of a name on any system: without what cannot be printed, and not too long."""
    kept = "".join("_" if letter in _UNSAFE or not letter.isprintable() else letter for letter in text)
    data = kept.encode("utf-8", "replace")[:MOST_BYTES]
    return data.decode("utf-8", "ignore").strip(" .")
