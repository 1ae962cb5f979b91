"""Voicebanks: timing files, and analyses kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import vowel_bank, vowel_frames

from songs.voices import voicebank

OTO = """かか.wav=- か,243,450,3828,300,100
かか.wav=a かA3,772.5,450,-700,300,100
かか.wav=a R,772,450,-700,300,100
きゅ.wav=u きゅS,10,20,30,40,50
broken
x.wav=a か,1
"""


def test_oto_lines_become_syllables_with_seconds(tmp_path: Path) -> None:
    path = tmp_path / "oto.ini"
    path.write_text(OTO, encoding="utf-8")
    table = voicebank.read_oto(path)
    assert set(table) == {("-", "か"), ("a", "か"), ("u", "きゅ")}
    first, second = table["-", "か"], table["a", "か"]
    assert (first.offset, first.fixed, first.end, first.cut) == (0.243, 0.45, None, 3.828)
    assert (second.end, second.cut, second.preutterance, second.overlap) == (0.7, 0.0, 0.3, 0.1)
    assert first.path == tmp_path / "かか.opus"
    assert table["u", "きゅ"].vowel == "u"
    assert first.vowel == "a"


def test_a_bank_falls_back_to_the_syllable_without_lead_in() -> None:
    bank = vowel_bank()
    assert bank.find("i", "ら") is bank.syllables["-", "ら"]
    assert bank.find("a", "ら") is bank.syllables["a", "ら"]
    assert bank.find("a", "ぬ") is None


def test_analyses_are_made_once_and_read_back_the_same(tmp_path: Path) -> None:
    calls: list[str] = []

    def analyse(syllable: voicebank.Syllable) -> voicebank.Frames:
        calls.append(syllable.kana)
        return vowel_frames(syllable)

    one, two = vowel_bank().syllables["-", "あ"], vowel_bank().syllables["-", "ら"]
    store = voicebank.AnalysisStore(tmp_path / "kept", analyse, keep=1)
    for syllable in (one, one, two, one):
        store.get(syllable)
    assert calls == ["あ", "ら"]
    again = voicebank.AnalysisStore(tmp_path / "kept", analyse).get(one)
    for kept, made in zip(again, vowel_frames(one), strict=True):
        np.testing.assert_array_equal(kept, made)
    assert calls == ["あ", "ら"]
    assert not list((tmp_path / "kept").glob("*partial*"))
