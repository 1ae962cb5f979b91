"""The sources of the page fit together, and nothing comes from elsewhere."""

from __future__ import annotations

import re

import pytest

from stemsplit.serve.page import FOLDER, SHARED, page_file

SOURCES = sorted(path.name for path in FOLDER.iterdir())


def text_of(name: str) -> str:
    path = page_file(name)
    assert path is not None, name
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_short_and_what_it_names_is_there(name: str) -> None:
    text = text_of(name)
    assert len(text.splitlines()) <= 400
    assert max(map(len, text.splitlines())) <= 130
    for other in (*re.findall(r'from "\./([\w.-]+)"', text), *re.findall(r'"/page/([\w.-]+)"', text)):
        assert page_file(other) is not None, other
    assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}


def test_every_source_is_used() -> None:
    used, new = set(), {"serve.html"}
    while new:
        name = new.pop()
        used.add(name)
        text = text_of(name)
        new |= {*re.findall(r'from "\./([\w.-]+)"', text), *re.findall(r'"/page/([\w.-]+)"', text)} - used
    assert used == {*SOURCES, *SHARED}


def test_the_script_knows_only_elements_that_are_there() -> None:
    known = set(re.findall(r'id="([\w-]+)"', text_of("serve.html")))
    assert set(re.findall(r'\$\("([\w-]+)"\)', text_of("serve.js"))) <= known
    assert "<style" not in text_of("serve.html")  # the policy lets in files of this server only
    assert "style=" not in text_of("serve.html")


@pytest.mark.parametrize("name", ["", "nope.js", "../app.py", "app.py", "player.html", "__init__.py"])
def test_nothing_else_is_part_of_it(name: str) -> None:
    assert page_file(name) is None
