"""The site builds without a warning, and asks nobody for anything. Needs `pip install --group docs`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ELSEWHERE = r"""["']?(?:https?:)?//"""
RESOURCE = re.compile(
    rf"<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc={ELSEWHERE}"
    rf"|<link\b(?=[^>]*\brel=.?(?:stylesheet|preconnect|preload|icon))[^>]*\bhref={ELSEWHERE}"
)


def test_every_page_is_in_the_navigation_or_made_of_the_program() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    written = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in written if not page.startswith("space/")} == set(
        re.findall(r": ([\w/-]+\.md)$", text, re.M)
    )


def test_what_is_fetched_would_be_seen() -> None:
    for text in (
        '<script src="https://a.b/c.js">',
        "<img src=//a.b/c.png>",
        '<link rel="stylesheet" href="http://a/b">',
    ):
        assert RESOURCE.search(text)
    for text in ('<script src="a/c.js">', '<a href="https://a.b">', '<link rel="next" href="https://a/b">'):
        assert not RESOURCE.search(text)


def test_fonts_and_plugins_are_not_fetched() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    assert {name if isinstance(name, str) else next(iter(name)) for name in settings["plugins"]} == {
        "search",
        "mkdocstrings",
    }


@pytest.mark.slow
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        assert not RESOURCE.search(page.read_text(encoding="utf-8")), page
        assert "<!-- from " not in page.read_text(encoding="utf-8"), page
    assert "<svg" in (tmp_path / "how-it-works.html").read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("*.py"))
