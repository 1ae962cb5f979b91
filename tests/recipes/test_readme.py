"""The README of the recipes names every recipe, script and room."""

from __future__ import annotations

from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"


def test_every_recipe_script_and_room_is_named() -> None:
    text = (RECIPES / "README.md").read_text(encoding="utf-8")
    rooms = [path.name for path in (RECIPES / "songs").iterdir() if not path.name.startswith("__")]
    files = [path.name for path in RECIPES.iterdir() if path.suffix in (".py", ".toml")]
    assert [name for name in (*rooms, *files) if f"`{name}`" not in text] == []
