"""Styles of various songs: complete, and with sounds that exist."""

from __future__ import annotations

import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from songs.composition import accompany, compose
from songs.composition.more_styles import BANDS, CLUB, VARIOUS_STYLES
from songs.composition.patterns import PATTERNS
from songs.composition.styles import Style
from songs.instruments.basses import BASSES
from songs.instruments.machine_drums import CHARACTERS
from songs.instruments.ornaments import ORNAMENTS
from songs.instruments.polysynths import SYNTHS

VOICES = {52, 53, 54, 85, 91}


def test_every_kind_of_music_is_there_once() -> None:
    names = [style.name for style in VARIOUS_STYLES]
    assert len(names) == len(set(names))
    assert set(names) >= {
        "house", "techno", "trap", "drum and bass", "dubstep", "synthwave", "lo-fi", "hip-hop", "reggaeton", "metal",
        "funk", "jazz", "samba", "pop",
    }  # fmt: skip
    assert all(style.by_machines for style in CLUB)
    assert not any(style.by_machines for style in BANDS)


@pytest.mark.parametrize("style", VARIOUS_STYLES, ids=lambda style: style.name)
def test_styles_can_be_played(style: Style) -> None:
    palette = style.palette
    assert set(style.modes) <= set(style.progressions)
    for loop in [text for loops in style.progressions.values() for text in loops]:
        for symbol in loop.split():
            compose.parse_chord(symbol)
    for role, programs in style.roles:
        assert role == "melody" or role in accompany.PLAYERS
        assert set(programs) <= set(range(128)) - VOICES
    assert set(style.bass_patterns) <= {*compose._LINES, "kick", "syncopated"}
    assert not palette.patterns or palette.patterns in PATTERNS
    assert set(palette.machines) <= set(CHARACTERS)
    assert set(palette.basses) <= set(BASSES)
    assert {name for names in palette.synths.values() for name in names} <= set(SYNTHS)
    assert set(palette.ornaments) <= set(ORNAMENTS)
