"""The page of a song, as text. What it does is tried in a browser: see `test_in_chromium`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from stemsplit.melody.contour import Contour
from stemsplit.player.melody import packed_melody
from stemsplit.player.page import Song, StemSound, hues_of, song_page
from stemsplit.player.sound import Levels

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">{{script}}'
STEM = StemSound("vocals", "./vocals.wav", "WAV", "AAAA", b"OggS")
SONG = Song("Song", "Somebody", "", 20.0, "ts-bsmamba2-mini", (STEM, replace(STEM, name="drums")))


def wandering(seconds: int) -> Contour:
    """A new note every second, of 0.8 s."""
    frames = np.arange(seconds * 100)
    semitones = 60 + (frames // 100 * 5) % 12 + 0.2 * np.sin(frames / 3)
    sung = frames % 100 < 80
    return Contour(0.01, 440 * 2 ** ((semitones - 69) / 12), sung.astype(np.float32), sung)


class Elements(HTMLParser):
    """Every element of a page and the text in scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_hostile_names_change_no_element() -> None:
    hostile = Song(
        HOSTILE, HOSTILE, HOSTILE, 20.0, HOSTILE, (replace(STEM, name=HOSTILE, file=f"./{HOSTILE}", kind=HOSTILE), STEM)
    )
    assert Elements(song_page(hostile)).seen == Elements(song_page(SONG)).seen
    assert data_of(song_page(hostile))["stems"][0]["name"] == HOSTILE


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="song">(.*?)</script>', page)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_the_same_song_has_the_same_bytes() -> None:
    assert song_page(SONG) == song_page(replace(SONG))


def test_a_page_tells_whether_the_sound_is_in_it() -> None:
    assert data_of(song_page(SONG))["embedded"]
    linked = replace(SONG, stems=(STEM, replace(STEM, name="drums", opus=None)))
    assert not data_of(song_page(linked))["embedded"]
    assert 'id="sound-1"' not in song_page(linked)


def test_every_control_has_a_name() -> None:
    page = song_page(SONG)
    for tag, about in Elements(page).seen:
        if about.get("role") == "slider":
            assert about["aria-label"]
        if tag == "button" and not re.search(rf'id="{about.get("id")}"[^>]*>\s*\w', page):
            assert about.get("aria-label") or "id" not in about


def test_a_page_is_small_besides_its_sound() -> None:
    """An hour of singing, eight stems."""
    levels = Levels(1000)
    levels.add(np.random.default_rng(0).uniform(-1, 1, (1, 100_000)).astype(np.float32))
    stems = [StemSound(f"stem {i}", f"./stem%20{i}.wav", "WAV", levels.packed(), None) for i in range(8)]
    melody = packed_melody(wandering(3600), 440.0)
    assert melody is not None
    assert len(melody["notes"]) / 3 > 3000
    page = song_page(Song("A long one", "", "", 3600.0, "", stems, melody | {"stem": 0}))
    assert len(page.encode()) < 300_000


@pytest.mark.parametrize(
    ("names", "hues"),
    [
        (["drums", "bass", "other", "vocals"], ["amber", "indigo", "teal", "rose"]),
        (["vocals", "no_vocals"], ["rose", "teal"]),
        (["x", "vocals", "y"], ["teal", "rose", "amber"]),
    ],
)
def test_colours_belong_to_stems(names: list[str], hues: list[str]) -> None:
    assert hues_of(names) == hues
    assert len(hues_of([str(i) for i in range(40)])) == 40
