"""Styles can be played."""

from __future__ import annotations

from songs.composition import accompany, compose
from songs.composition.styles import STYLES


def test_every_style_has_chords_that_parse_and_roles_that_play() -> None:
    for style in STYLES:
        assert set(style.modes) <= set(style.progressions)
        for loop in [text for loops in style.progressions.values() for text in loops]:
            for symbol in loop.split():
                compose.parse_chord(symbol)
        for role, programs in style.roles:
            assert role == "melody" or role in accompany.PLAYERS
            assert set(programs) <= set(range(128)) - {52, 53, 54, 85, 91}, "voices belong to the vocal stem"
