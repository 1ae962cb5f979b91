"""A song → the HTML of its page. The same song gives the same bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stemsplit.player.assets import as_data, as_text, filled

HUES = ("teal", "rose", "amber", "indigo", "orange", "green", "violet", "slate")
_KNOWN = {
    "vocals": "rose", "speech": "rose", "drums": "amber", "bass": "indigo", "other": "teal", "guitar": "orange",
    "piano": "green", "no_vocals": "teal", "music": "teal", "effects": "amber", "speaker1": "rose",
    "speaker2": "indigo",
}  # fmt: skip
_UNFIT = '/\\:*?"<>|'


@dataclass(frozen=True)
class StemSound:
    """A stem in the page.

    Attributes:
        name: of the stem.
        file: the address of its file, relative to the page.
        kind: of that file, as in WAV.
        levels: see `sound.Levels.packed`.
        opus: the stem as Ogg Opus; None if the page plays the file.
    """

    name: str
    file: str
    kind: str
    levels: str
    opus: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Song:
    """What a page is made of. `melody` is that of `melody.packed_melody`; `model` is what separated the song."""

    title: str
    artist: str
    album: str
    seconds: float
    model: str
    stems: Sequence[StemSound]
    melody: dict[str, Any] | None = None


def song_page(song: Song) -> str:
    """Return the page of a song."""
    said = [song.artist, song.album, _count(song)]
    sounds = [
        f'<script type="text/plain" id="sound-{number}">{base64.b64encode(stem.opus).decode()}</script>'
        for number, stem in enumerate(song.stems)
        if stem.opus is not None
    ]
    by = f"Separated with stemsplit, model {song.model}." if song.model else "Separated with stemsplit."
    texts = {
        "title": as_text(" – ".join(text for text in (song.artist, song.title) if text)),
        "heading": as_text(song.title),
        "about": as_text(" · ".join(text for text in said if text)),
        "made": as_text(by),
        "files": as_text(_files(song)),
        "song": as_data(song_data(song)),
        "sounds": "\n".join(sounds),
    }
    return filled("page.html", texts, script="main.js", styles=("common.css", "page.css"))


def _files(song: Song) -> str:
    kinds = " and ".join(dict.fromkeys(stem.kind for stem in song.stems))
    if not is_embedded(song):
        return f"This page plays the {kinds} files beside it."
    return f"The {kinds} files lie beside this page, as they were separated. What you hear is the Opus inside it."


def _count(song: Song) -> str:
    return f"{len(song.stems)} stem{'' if len(song.stems) == 1 else 's'}"


def is_embedded(song: Song) -> bool:
    """Return whether the page holds the sound of all stems."""
    return all(stem.opus is not None for stem in song.stems)


def song_data(song: Song) -> dict[str, Any]:
    """Return what the page's script reads, as a JSON value."""
    hues = hues_of([stem.name for stem in song.stems])
    return {
        "title": song.title,
        "artist": song.artist,
        "fileName": "".join("_" if letter in _UNFIT or ord(letter) < 32 else letter for letter in song.title)[:100],
        "seconds": round(song.seconds, 6),
        "embedded": is_embedded(song),
        "stems": [
            {"name": stem.name, "hue": hue, "file": stem.file, "kind": stem.kind, "peaks": stem.levels}
            for stem, hue in zip(song.stems, hues, strict=True)
        ],
        "melody": song.melody,
    }


def hues_of(names: Sequence[str]) -> list[str]:
    """Return a colour of the style sheet for every stem: the same stem has the same one in all pages where it can."""
    used = {_KNOWN[name] for name in names if name in _KNOWN}
    free = [hue for hue in HUES if hue not in used] or list(HUES)
    hues, next_free = [], 0
    for name in names:
        if name in _KNOWN:
            hues.append(_KNOWN[name])
        else:
            hues.append(free[next_free % len(free)])
            next_free += 1
    return hues
