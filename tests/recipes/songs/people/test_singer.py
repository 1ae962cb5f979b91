"""Somebody who spoke, singing and rapping."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import chord_form, spectrum, vocal_form, write_speech

from songs.composition.score import Note
from songs.voices.line import Manner, Sung
from songs.voices.people import samples
from songs.voices.people.person import Person, list_people
from songs.voices.people.rap import choose_delivery, rapped_line
from songs.voices.people.singer import Singer, set_words, singer_of, voiced_as
from songs.voices.vocoder import vocode
from songs.voices.voicebank import AnalysisStore
from stemsplit.errors import StemsplitError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")
MANNER = Manner(0.0, 5.5, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0)
RATE = 44100


@pytest.fixture(scope="module")
def singer(tmp_path_factory: pytest.TempPathFactory) -> Singer:
    folder = write_speech(tmp_path_factory.mktemp("speech"), ["made/1"])
    found = singer_of(list_people(folder, (), without=True)[0], AnalysisStore(None))
    assert found is not None
    return found


def test_syllables_are_found_where_they_were_said(singer: Singer) -> None:
    assert singer.talk.pitch == pytest.approx(69 + 12 * np.log2(115 / 440), abs=0.7)
    assert len(singer.syllables) == 9
    assert [len(run) for run in singer.runs()] == [3, 3, 3]
    for at, syllable in enumerate(singer.syllables):
        word, index = divmod(at, 3)
        said = 30 + (0.1 + 1.2 * word + 0.3 * index + 0.1) / 0.005  # 30 frames of silence come first
        assert syllable.vowel == pytest.approx(said, abs=7)
        assert syllable.onset <= syllable.vowel <= syllable.hold_from < syllable.hold_to <= syllable.end
        assert syllable.vowel - syllable.onset > 8  # its hiss belongs to it
    for before, after in pairwise(singer.syllables):
        assert before.end == after.onset if before.run == after.run else before.end < after.onset


def test_analyses_are_read_back_the_same(tmp_path: Path) -> None:
    person = list_people(write_speech(tmp_path / "speech", ["made/1"], 2), (), without=True)[0]
    first = singer_of(person, AnalysisStore(tmp_path / "kept"))
    person.files[0].write_bytes(b"")
    second = singer_of(person, AnalysisStore(tmp_path / "kept"))
    assert first is not None
    assert second is not None
    for made, kept in zip(first.talk, second.talk, strict=True):
        np.testing.assert_array_equal(made, kept)
    assert first.syllables == second.syllables


@pytest.mark.parametrize("samples_there", [10, 16000])
def test_hardly_anything_or_silence_is_no_singer(tmp_path: Path, samples_there: int) -> None:
    path = tmp_path / "a" / "b" / "1.opus"
    path.parent.mkdir(parents=True)
    soundfile.write(path, np.zeros(samples_there), 16000, format="OGG", subtype="OPUS")
    assert singer_of(Person("a/b", (path,)), AnalysisStore(None)) is None


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.opus").write_bytes(b"OggS")
    with pytest.raises(StemsplitError, match=r"1\.opus cannot be read"):
        singer_of(Person("a/b", (tmp_path / "1.opus",)), AnalysisStore(None))


def test_who_says_too_little_does_not_sing(tmp_path: Path) -> None:
    person = list_people(write_speech(tmp_path, ["made/1"], 1), (), without=True)[0]
    assert singer_of(person, AnalysisStore(None)) is None


def test_a_melody_is_sung_at_its_pitch_and_nowhere_else(singer: Singer) -> None:
    pyworld = pytest.importorskip("pyworld")
    line = [Sung(0.3, 0.9, 57.0, 1.0, None), Sung(0.9, 1.5, 64.0, 1.0, None)]
    pitch = np.where(np.arange(401) < 180, 57.0, 64.0)
    words = list(singer.syllables[:2])
    sound, f0 = voiced_as(np.random.default_rng(0), singer, line, words, pitch, MANNER, 2.0)
    assert sound.shape == (88200,)
    assert sound.dtype == np.float32
    heard, _ = pyworld.dio(sound.astype(np.float64), RATE, f0_floor=100, f0_ceil=600, frame_period=5.0)
    for first, last, hertz in ((75, 155, 220.0), (200, 285, 329.6)):
        assert np.median(f0[first:last]) == pytest.approx(hertz, rel=0.01)
        assert np.median(heard[first:last]) == pytest.approx(hertz, rel=0.02)
        assert np.sqrt(np.mean(sound[first * 220 : last * 220] ** 2)) > 0.01
    assert np.abs(sound[: round(0.15 * RATE)]).max() < 1e-3
    assert np.abs(sound[round(1.8 * RATE) :]).max() < 1e-3
    hiss = sound[round(0.22 * RATE) : round(0.29 * RATE)]
    hertz, power = spectrum(hiss)
    assert power[(hertz > 8500) & (hertz < 12000)].sum() > 0.1 * power[hertz < 7500].sum()


def test_a_whisper_has_no_pitch(singer: Singer) -> None:
    manner = replace(MANNER, whisper=True)
    sound, f0 = voiced_as(np.random.default_rng(0), singer, [Sung(0.3, 0.9, 57.0, 1.0, None)],
                          [singer.syllables[0]], 0.0, manner, 1.2)  # fmt: skip
    assert not f0.any()
    assert sound.any()


def test_rap_keeps_the_speakers_pitch_and_comes_on_the_beat(singer: Singer) -> None:
    rng, form = np.random.default_rng(1), vocal_form()
    manner, shift = choose_delivery(rng)
    line, words = rapped_line(rng, form, form.active("vocals"), singer)
    assert len(line) == len(words) > 6
    beats = np.array([note.start for note in line]) * form.tempo / 60
    off = np.abs(beats * 12 - np.round(beats * 12)) / 12  # sixteenths and triplets
    assert np.median(off) < 0.03
    assert beats.min() > 3.9
    assert all(a.end <= b.start + 0.04 for a, b in pairwise(line))
    sound, f0 = voiced_as(rng, singer, line, words, shift, manner, 6.0)
    assert 69 + 12 * np.log2(np.median(f0[f0 > 0]) / 440) == pytest.approx(singer.talk.pitch + shift, abs=1.0)
    assert not sound[: round(1.8 * RATE)].any()


def test_words_follow_one_another_and_begin_anew_after_rests(singer: Singer) -> None:
    notes = [Note(0.0, 1.0, 60, 110), Note(1.0, 1.0, 62, 110), Note(4.0, 1.0, 64, 110)]
    line, words = set_words(np.random.default_rng(0), chord_form(), notes, singer.syllables, 0.0)
    at = singer.syllables.index(words[0] or singer.syllables[-1])
    assert words[1] == singer.syllables[(at + 1) % 9]
    assert all(before.end <= after.start + 0.06 for before, after in pairwise(line))
    held = set_words(np.random.default_rng(0), chord_form(), notes, singer.syllables, 1.0)[1]
    assert [word is None for word in held] == [False, True, False]


def test_recorded_words_come_on_beats_and_in_their_sections(singer: Singer) -> None:
    rng, form = np.random.default_rng(0), vocal_form()
    spoken = samples.spoken_lines(rng, form, form.active("vocals"), singer, 6 * RATE)
    assert not spoken[: round(1.7 * RATE)].any()
    assert spoken[2 * RATE :].any()
    called = samples.adlibs(rng, form, singer, 6 * RATE)
    assert called.any()
    assert np.isfinite(called).all()
    one = samples.cut(rng, singer, singer.syllables[0].onset, singer.syllables[2].end)
    assert np.abs(one).max() < 1
    assert one[0] == one[-1] == 0


def test_chops_play_tones_of_the_chords(singer: Singer) -> None:
    sample = np.sin(2 * np.pi * 261.63 * np.arange(RATE // 2) / RATE).astype(np.float32)
    form = chord_form()
    sound = samples.chops(np.random.default_rng(0), form, form.sections[:1], sample, 60.0, 8 * RATE)
    assert not sound[4 * RATE + 100 :].any()
    hertz, power = spectrum(sound[: 2 * RATE])  # C major
    peak = 69 + 12 * np.log2(hertz[power.argmax()] / 440)
    assert abs(peak - round(peak)) < 0.2
    assert round(peak) % 12 in (0, 4, 7)


def test_the_vocoder_speaks_in_chords(singer: Singer) -> None:
    voice = np.zeros(2 * RATE, np.float32)
    voice[RATE // 2 : RATE] = np.random.default_rng(0).standard_normal(RATE // 2) * 0.1
    sound = vocode(np.random.default_rng(0), chord_form(), voice, 60.0)
    assert sound.shape == voice.shape
    assert np.abs(sound[: RATE // 3]).max() < 1e-6
    level = np.sqrt(np.mean(sound[RATE // 2 : RATE] ** 2))
    assert 0.03 < level < 0.3
    hertz, power = spectrum(sound[RATE // 2 : RATE])
    tone = power[np.abs(hertz - 261.6) < 4].max()
    assert tone > 20 * np.median(power[(hertz > 200) & (hertz < 500)])
