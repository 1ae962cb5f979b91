"""Voicebanks and singing: timing files, analyses kept on disk, text, pitch contours, frames; and recorded clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import vowel_bank, vowel_frames, write_clips

from songs.composition.score import Form, Note, Section
from songs.voices import clips, sing, voicebank

MANNER = sing.Manner(0.0, 5.5, 0.05, 1.0, 0.0, 1.0, 0.0, 0.0)
OTO = """かか.wav=- か,243,450,3828,300,100
かか.wav=a かA3,772.5,450,-700,300,100
かか.wav=a R,772,450,-700,300,100
きゅ.wav=u きゅS,10,20,30,40,50
broken
x.wav=a か,1
"""


def make_form(tempo: float = 120.0) -> Form:
    both, none = frozenset({"vocals"}), frozenset({"bass"})
    return Form("t", tempo, 0, "major", 0.0, (), (Section(0, 4, none, "A"), Section(4, 8, both, "B")))


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


def test_text_starts_phrases_without_lead_in_and_joins_the_rest() -> None:
    notes = [Note(0, 1, 60, 90), Note(1, 1, 62, 90), Note(4, 1, 64, 90)]
    sung = sing.set_text(np.random.default_rng(0), make_form(), notes, vowel_bank(), MANNER)
    assert [note.syllable.before for note in sung if note.syllable] == ["-", "a", "-"]
    assert [note.pitch for note in sung] == [60, 62, 64]
    assert sung[2].start == pytest.approx(2.0, abs=0.06)


def test_the_contour_reaches_each_pitch_scoops_after_rests_and_glides_otherwise() -> None:
    sung = [sing.Sung(0.5, 1.0, 60, 1, None), sing.Sung(1.0, 1.5, 67, 1, None)]
    contour = sing.pitch_contour(np.random.default_rng(0), sung, MANNER, 400)
    assert contour[96] == pytest.approx(59.0, abs=0.1)  # a semitone below at the start
    assert contour[180] == pytest.approx(60.0)
    assert contour[200] == pytest.approx(63.5, abs=0.5)  # halfway up at the second note
    assert contour[280] == pytest.approx(67.0)


def test_vibrato_swings_about_a_long_note() -> None:
    manner = sing.Manner(0.5, 5.0, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0)
    contour = sing.pitch_contour(np.random.default_rng(0), [sing.Sung(0.0, 3.0, 60, 1, None)], manner, 600)
    steady = contour[200:400]
    assert steady.max() == pytest.approx(60.5, abs=0.02)
    assert steady.mean() == pytest.approx(60.0, abs=0.02)
    assert contour[60:70] == pytest.approx(60.0, abs=0.4)


@pytest.mark.parametrize(
    ("available", "fixed", "wanted"), [(100, 30, 500), (100, 30, 10), (5, 50, 40), (1, 0, 9), (2, 1, 9)]
)
def test_stretching_stays_inside_the_recording_and_moves_in_steps(available: int, fixed: int, wanted: int) -> None:
    rows = sing.stretch(available, fixed, wanted, np.random.default_rng(0))
    assert len(rows) == wanted
    assert rows.min() >= 0
    assert rows.max() < available
    assert np.abs(np.diff(rows)).max(initial=0) <= 1
    once = min(fixed, wanted, available - 1)
    np.testing.assert_array_equal(rows[:once], np.arange(once))


def test_joined_frames_are_silent_in_rests() -> None:
    bank = vowel_bank()
    sung = [sing.Sung(0.5, 1.0, 60, 1, bank.find("-", "あ")), sing.Sung(1.5, 2.0, 60, 1, bank.find("-", "ら"))]
    stream = sing.join(np.random.default_rng(0), sung, voicebank.AnalysisStore(None, vowel_frames), 500)
    level = stream.log_envelope[:, 50]
    assert level[:85].max() < -24
    assert level[120:180].min() > -12
    assert level[205:285].max() < -24
    assert not stream.voiced[205:285].any()
    assert stream.voiced[120:180].all()
    assert sing.phrases(level > -24.5)[0][0] == pytest.approx(90, abs=6)
    assert len(sing.phrases(level > -24.5)) == 2


def test_phrases_of_silence_and_of_everything() -> None:
    assert sing.phrases(np.zeros(10, bool)) == []
    assert sing.phrases(np.ones(10, bool)) == [(0, 10)]


def test_nothing_to_sing_is_silence() -> None:
    store = voicebank.AnalysisStore(None, vowel_frames)
    audio, f0 = sing.voice(np.random.default_rng(0), [], store, MANNER, 0.5)
    assert audio.shape == (22050,)
    assert not audio.any()
    assert not f0.any()


def test_formants_move_with_the_scale() -> None:
    envelope = np.zeros((1, 1025), np.float32)
    envelope[0, 200] = 5.0
    assert sing.warp(envelope, 1.1)[0].argmax() == 220
    np.testing.assert_array_equal(sing.warp(envelope, 1.0), envelope)


def test_doubles_sing_the_same_words_elsewhere() -> None:
    sung = [sing.Sung(0.001, 1.0, 60, 1, vowel_bank().find("-", "あ"))] * 5
    double = sing.again(np.random.default_rng(0), sung, [4.0] * 5)
    assert all(note.start >= 0 and note.pitch == 64 and note.syllable is sung[0].syllable for note in double)
    assert len({note.end for note in double}) == 5


def test_clips_are_listed_by_singer(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", ("ann", "bob", "eve"))
    assert set(clips.list_clips(folder, None, ("eve",)).songs) == {"ann_1", "bob_1"}
    only = clips.list_clips(folder, ("eve",))
    assert [path.name for path in only.songs["eve_1"]] == ["eve_1_01.voice.opus", "eve_1_02.voice.opus"]
    assert set(only.melodies) == {f"{s}_1_0{i}" for s in ("ann", "bob", "eve") for i in (1, 2)}


def test_clips_sound_in_vocal_sections_only(tmp_path: Path) -> None:
    found = clips.list_clips(write_clips(tmp_path / "clips"), None)
    audio, names = clips.place_clips(np.random.default_rng(0), make_form(), found, 7.0)
    assert names
    assert audio.shape == (7 * 44100,)
    assert np.abs(audio[: 2 * 44100 - 4000]).max() < 1e-3
    assert np.abs(audio[2 * 44100 : 3 * 44100]).max() > 0.1
    assert np.abs(audio[6 * 44100 + 8000 :]).max() < 1e-3


def test_the_least_shift_that_fits_the_scale_wins() -> None:
    major = frozenset({0, 2, 4, 5, 7, 9, 11})
    assert clips.best_shift(np.array([60.0, 62, 64, 65, 67, 0]), major) == 0
    assert clips.best_shift(np.array([61.0, 63, 65, 66, 68, 70, 72]), major) == -1
    assert clips.best_shift(np.zeros(5), major) == 0


def test_extension_adds_an_upper_octave_and_keeps_the_lower() -> None:
    time = np.arange(44100) / 44100
    voice = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 33)).astype(np.float32)
    out = clips.extend(np.random.default_rng(0), voice)
    before, after = np.abs(np.fft.rfft(voice)) ** 2, np.abs(np.fft.rfft(out)) ** 2
    assert after[9000:12000].sum() > 100 * before[9000:12000].sum()
    assert after[9000:].sum() < 0.01 * after.sum()
    assert after[100:3000].sum() == pytest.approx(before[100:3000].sum(), rel=0.01)
    assert not clips.extend(np.random.default_rng(0), np.zeros(1000, np.float32)).any()
