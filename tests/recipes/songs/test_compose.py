"""Composition: harmony, bass lines and melodies keep to the form."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy")

from song_sources import chord_form

from songs.composition import compose
from songs.composition.styles import STYLES


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [("0M", (0, "M")), ("10M7", (10, "M7")), ("07", (0, "7")), ("11h", (11, "h")), ("0a9", (0, "a9"))],
)
def test_chord_symbols(symbol: str, expected: tuple[int, str]) -> None:
    assert compose.parse_chord(symbol) == expected


@pytest.mark.parametrize("symbol", ["", "M", "12M", "0x", "-1M"])
def test_no_chord_symbol(symbol: str) -> None:
    with pytest.raises(ValueError, match="no chord"):
        compose.parse_chord(symbol)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(STYLES), st.floats(1, 90))
def test_forms_are_whole_bars_without_gaps_and_every_stem_plays(seed: int, style: object, seconds: float) -> None:
    form = compose.compose_form(np.random.default_rng(seed), style, seconds, frozenset({"drums"}), 3)  # type: ignore[arg-type]
    ends = [s.start + s.beats for s in form.sections]
    assert [s.start for s in form.sections] == [0, *ends[:-1]]
    assert all(s.beats > 0 and s.beats % 8 == 0 for s in form.sections)
    assert all(s.active for s in form.sections)
    assert form.active("bass")
    assert form.active("vocals")
    assert not form.active("drums")
    assert form.chords[0].start == 0
    assert form.chords[-1].start + form.chords[-1].beats == form.beats


@pytest.mark.parametrize("pattern", ["roots", "eighths", "fifths", "octaves", "walking", "syncopated", "sub", "gallop"])
def test_bass_starts_each_bar_on_the_root_and_rests_where_it_should(pattern: str) -> None:
    form = chord_form()
    line = compose.bass_line(np.random.default_rng(0), form, pattern, low=28)
    assert line
    assert max(note.start + note.beats for note in line) <= 8
    assert all(27 <= note.pitch <= 52 for note in line)
    downbeats = [note for note in line if note.start % 4 == 0]
    assert len(downbeats) == 2
    if pattern not in ("syncopated",):
        assert [note.pitch % 12 for note in downbeats] == [0, 7]


def test_kick_bass_follows_the_kick_and_without_kicks_plays_halves() -> None:
    form = chord_form()
    line = compose.bass_line(np.random.default_rng(0), form, "kick", [0.02, 1.5, 4.0])
    assert [note.start for note in line] == [0.0, 1.5, 4.0]
    assert [note.start for note in compose.bass_line(np.random.default_rng(0), form, "kick")] == [0, 2, 4, 6]


def test_melody_keeps_to_the_scale_the_range_and_one_note_at_a_time() -> None:
    form = chord_form(bars=16)
    for seed in range(10):
        notes = compose.melody(np.random.default_rng(seed), form, form.sections[0], 60.0, span=7)
        assert all(note.pitch % 12 in form.scale for note in notes)
        assert all(53 <= note.pitch <= 67 for note in notes)
        assert all(b.start >= a.start + a.beats - 1e-9 for a, b in pairwise(notes))
        assert all(note.start + note.beats <= form.sections[0].beats for note in notes)


def test_swing_delays_offbeats_only() -> None:
    assert compose.swung(3.0, 1.0) == 3.0
    assert compose.swung(3.5, 1.0) == pytest.approx(3 + 2 / 3)
    assert compose.swung(3.5, 0.0) == pytest.approx(3.5)
    beats = np.linspace(0, 2, 41)
    assert (np.diff([compose.swung(b, 0.6) for b in beats]) > 0).all()


@given(st.integers(0, 11), st.floats(20, 100))
def test_nearest_is_within_a_tritone(pitch_class: int, centre: float) -> None:
    pitch = compose.nearest(pitch_class, centre)
    assert pitch % 12 == pitch_class
    assert abs(pitch - centre) <= 6
