"""Lines: syllables under notes, and the same words once more."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import vocal_form, vowel_bank

from songs.composition.score import Note
from songs.voices.line import Manner, Sung, set_text, sung_again


def test_text_starts_phrases_without_lead_in_and_joins_the_rest() -> None:
    notes = [Note(0, 1, 60, 90), Note(1, 1, 62, 90), Note(4, 1, 64, 90)]
    sung = set_text(
        np.random.default_rng(0), vocal_form(), notes, vowel_bank(), Manner(0.0, 5.5, 0.05, 1.0, 0.0, 1.0, 0.0, 0.0)
    )
    assert [note.syllable.before for note in sung if note.syllable] == ["-", "a", "-"]
    assert [note.pitch for note in sung] == [60, 62, 64]
    assert sung[2].start == pytest.approx(2.0, abs=0.06)


def test_doubles_sing_the_same_words_elsewhere() -> None:
    sung = [Sung(0.001, 1.0, 60, 1, vowel_bank().find("-", "あ"))] * 5
    double = sung_again(np.random.default_rng(0), sung, [4.0] * 5)
    assert all(note.start >= 0 and note.pitch == 64 and note.syllable is sung[0].syllable for note in double)
    assert len({note.end for note in double}) == 5
