"""The rooms of the renderer import those before them only."""

from __future__ import annotations

import re
from pathlib import Path

ROOMS = ("composition", "mix", "instruments", "voices", "draft", "stems", "render")
SONGS = Path(__file__).parents[3] / "recipes" / "songs"


def test_rooms_import_those_before_them_only() -> None:
    for path in SONGS.rglob("*.py"):
        room = path.relative_to(SONGS).with_suffix("").parts[0]
        if room in ROOMS:
            imported = set(re.findall(r"from songs\.?(\w*)", path.read_text(encoding="utf-8"))) - {""}
            assert imported <= set(ROOMS[: ROOMS.index(room) + 1]), path
