"""The drawings are those that the code draws, readable in light and dark."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import figures
import pytest

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.mark.parametrize("name", figures.DRAWINGS)
def test_a_drawing_is_what_the_code_draws(name: str) -> None:
    drawn, kept = figures.DRAWINGS[name]().svg(), (figures.TARGET / f"{name}.svg").read_text(encoding="utf-8")
    assert NUMBER.sub("#", drawn) == NUMBER.sub("#", kept), "run docs/figures.py"
    numbers = [list(map(float, NUMBER.findall(text))) for text in (drawn, kept)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.11)


@pytest.mark.parametrize("name", figures.DRAWINGS)
def test_a_drawing_is_small_has_a_name_and_stays_on_its_canvas(name: str) -> None:
    drawing = figures.DRAWINGS[name]()
    text = drawing.svg()
    root = ElementTree.fromstring(text)
    assert len(text) < 20_000
    assert root.get("aria-label") == drawing.title
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, width, height = (float(rect.get(key, "nan")) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= figures.WIDTH
        assert 0 <= y <= y + height <= drawing.height
    assert "prefers-color-scheme:dark" in text
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_drawings_of_one_page_do_not_share_marks() -> None:
    marks = [re.findall(r'id="([^"]+)"', draw().svg()) for draw in figures.DRAWINGS.values()]
    assert len({mark for found in marks for mark in found}) == sum(map(len, marks))
