"""Pages of songs → a page that lists them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stemsplit.player.assets import as_data, as_text, filled

MARK = '<meta name="generator" content="stemsplit player">'
"""Every page of ours has it, near its beginning."""
_HEAD_BYTES = 4096
_MOST_BYTES = 1 << 20  # what a page holds before its sounds is less than half of it
_SONG = re.compile(rb'<script type="application/json" id="song">(.*?)</script>', re.DOTALL)


def is_page(path: Path) -> bool:
    """Return whether a file is a page that we have written."""
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def page_data(path: Path) -> dict[str, Any] | None:
    """Return what a song's page says of the song; None if it is no such page."""
    try:
        with path.open("rb") as file:
            found = _SONG.search(file.read(_MOST_BYTES))
        data = json.loads(found[1]) if found else None
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("stems"), list) else None


def address(target: str) -> str:
    """Return the address of a relative path, for a link in a page; a colon in it names no protocol."""
    return f"./{quote(os.fsencode(target))}"


def index_page(folder: Path, title: str, pages: Sequence[Path]) -> str:
    """Return the page that lists the pages of songs, which lie below `folder`."""
    songs = []
    for page in pages:
        if (data := page_data(page)) is not None:
            keys = ("title", "artist", "seconds", "stems")
            songs.append({key: data.get(key) for key in keys} | {"page": address(page.relative_to(folder).as_posix())})
    total = sum(song["seconds"] for song in songs if isinstance(song["seconds"], float))
    texts = {
        "title": as_text(title),
        "about": f"{len(songs)} song{'' if len(songs) == 1 else 's'}, {round(total / 60)} min",
        "songs": as_data(songs),
    }
    return filled("index.html", texts, script="index.js", styles=("common.css", "index.css"))
