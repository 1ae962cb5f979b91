"""Syllables on notes: whose consonants keep their speed, and whose vowels are held."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from songs.voices.line import Sung
from songs.voices.people.syllables import Syllable
from songs.voices.people.timing import SILENT, hold, lay

FIRST = Syllable(100, 120, 130, 142, 160, 0, 0.0)
SECOND = Syllable(160, 175, 180, 192, 220, 0, 1.0)


def note(start: float, end: float) -> Sung:
    return Sung(start, end, 60.0, 1.0, None)


def laid(notes: list[Sung], words: list[Syllable | None]) -> np.ndarray:
    return lay(np.random.default_rng(0), notes, words, 0.0, 400).rows


def test_vowels_begin_at_their_notes_and_are_held_to_the_next_consonants() -> None:
    rows = laid([note(0.5, 1.0), note(1.0, 1.5)], [FIRST, SECOND])
    np.testing.assert_array_equal(rows[80:110], np.arange(100, 130))  # the consonants, and the vowel's beginning
    assert rows[100] == FIRST.vowel
    assert rows[200] == SECOND.vowel
    np.testing.assert_array_equal(rows[167:200], np.arange(142, 175))  # its end, and the next consonants, as spoken
    held = rows[110:167]
    assert held.min() >= 130
    assert held.max() < 142
    assert (rows[:80] == SILENT).all()
    assert (rows[80:300] != SILENT).all()
    assert (rows[330:] == SILENT).all()


def test_short_notes_hurry_and_never_run_out_of_the_syllable() -> None:
    notes = [note(0.5 + 0.06 * i, 0.56 + 0.06 * i) for i in range(8)]
    rows = laid(notes, [FIRST, SECOND] * 4)
    sounding = rows[rows != SILENT]
    assert sounding.min() >= FIRST.onset
    assert sounding.max() < SECOND.end
    assert [rows[round(n.start / 0.005)] for n in notes[:2]] == [FIRST.vowel, SECOND.vowel]


def test_a_note_without_a_syllable_holds_the_one_before() -> None:
    rows = laid([note(0.2, 0.6), note(0.6, 1.4)], [FIRST, None])
    assert (rows[60:240] >= 130).all()
    assert (rows[60:240] < 142).all()


def test_a_note_at_the_start_of_a_song_loses_its_consonants_only() -> None:
    rows = laid([note(0.02, 0.5)], [FIRST])
    assert rows[4] == FIRST.vowel
    assert rows[0] > FIRST.onset


def test_soft_syllables_are_brought_nearer_to_loud_ones() -> None:
    out = lay(np.random.default_rng(0), [note(0.5, 1.0), note(1.0, 1.5)], [FIRST, SECOND], 0.5, 400)
    assert out.gain[110] == pytest.approx(0.4)
    assert out.gain[210] == pytest.approx(-0.4)


@pytest.mark.parametrize(("width", "length"), [(12, 400), (12, 5), (1, 30), (3, 3), (12, 1), (5, 0)])
def test_holding_goes_through_a_vowel_once(width: int, length: int) -> None:
    rows = hold(np.random.default_rng(0), width, length)
    assert len(rows) == length
    assert ((rows >= 0) & (rows < width)).all()
    if length > 10 * width > 100:
        assert np.abs(np.diff(rows)).max() <= 1
        assert rows[:20].mean() < 2 < 9 < rows[-20:].mean()
