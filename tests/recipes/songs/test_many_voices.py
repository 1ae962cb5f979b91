"""Few voices made into many: characters, speech, recasting, treatments; and the songs that use them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import small_sources, vowel_bank, vowel_frames

from songs import render as songs
from songs.voices import characters, clips, recast, sing, speech, vocal_chain
from songs.voices.voicebank import AnalysisStore

RATE = 44100
WORLD = pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> songs.Sources:
    return small_sources(tmp_path_factory.mktemp("sources"), various=True)


def test_characters_span_deep_men_and_children_from_either_voice() -> None:
    rng = np.random.default_rng(0)
    for tract, recorded_at in ((1.0, 66.0), (0.86, 50.0)):
        drawn = [characters.choose_character(rng, tract, recorded_at) for _ in range(400)]
        assert {name for name, _, _ in drawn} == {"own", *(c.name for c in characters.CHARACTERS)}
        assert all(0.72 <= formant <= 1.35 for _, formant, _ in drawn)
        made = {name: [(f, c) for n, f, c in drawn if n == name] for name in ("bass", "child")}
        assert max(f * tract for f, _ in made["bass"]) < 0.85 < 1.1 < min(f * tract for f, _ in made["child"])
        assert max(centre for _, centre in made["bass"]) < 48 < 62 < min(centre for _, centre in made["child"])


def spoken_line() -> list[sing.Sung]:
    return [sing.Sung(0.2 * i + 1.0 * (i >= 5), 0.2 * i + 0.2 + 1.0 * (i >= 5), 60.0, 1.0, None) for i in range(10)]


def test_phrases_end_at_rests() -> None:
    assert [len(phrase) for phrase in speech.phrases_of(spoken_line())] == [5, 5]


def test_speech_keeps_to_its_middle_and_holds_no_note() -> None:
    rng = np.random.default_rng(1)
    flat, lively = (speech.speech_contour(rng, spoken_line(), 640, spread) for spread in (0.5, 3.0))
    assert abs(np.median(flat) - 60) < 1.5
    assert np.std(lively[:600]) > 2 * np.std(flat[:600])
    steps = np.abs(np.diff(lively[:200]))
    assert (steps < 1e-3).mean() < 0.2  # a sung line stands still between its glides
    assert steps.max() < 1.0


def test_speech_without_syllables_is_level() -> None:
    contour = speech.speech_contour(np.random.default_rng(0), [], 50, 1.0)
    assert contour.shape == (50,)
    assert np.isfinite(contour).all()


def vowel(hertz: float, formant: float, rate: int = 16000) -> np.ndarray:
    """A second of harmonics under one resonance."""
    time, tone = np.arange(rate) / rate, np.zeros(rate)
    for k in range(1, int(6000 / hertz)):
        tone += (0.2 / k + np.exp(-(((k * hertz - formant) / 400) ** 2))) * np.sin(2 * np.pi * k * hertz * time)
    return (0.2 * tone).astype(np.float32)


def centroid(voice: np.ndarray, rate: int = 16000) -> float:
    power = np.abs(np.fft.rfft(voice)) ** 2
    return float((power * np.fft.rfftfreq(len(voice), 1 / rate)).sum() / power.sum())


@WORLD
def test_recasting_moves_pitch_and_resonance_apart() -> None:
    pyworld = pytest.importorskip("pyworld")
    voice = vowel(200.0, 1500.0)
    deeper, smaller = recast.recast(voice, 16000, -7.0, 1.0), recast.recast(voice, 16000, 0.0, 1.25)
    assert deeper.shape == voice.shape
    assert deeper.dtype == np.float32
    for sound, wanted in ((deeper, 200 * 2 ** (-7 / 12)), (smaller, 200.0)):
        pitch, _ = pyworld.harvest(sound.astype(np.float64), 16000)
        assert abs(np.median(pitch[pitch > 0]) - wanted) < 0.02 * wanted
    assert abs(centroid(deeper) - centroid(vowel(133.5, 1500.0))) < 100
    assert abs(centroid(smaller) - centroid(vowel(200.0, 1875.0))) < 150


def test_scaled_envelopes_move_their_peak() -> None:
    envelope = np.exp(-(((np.arange(513) - 100) / 10.0) ** 2)) + 1e-6
    moved = recast.scaled(np.tile(envelope, (3, 1)), 1.2)
    assert moved.shape == (3, 513)
    assert moved[0].argmax() == pytest.approx(120, abs=1)


def bursts() -> np.ndarray:
    """Two phrases of noise, with a rest after each."""
    audio = np.zeros((2, 4 * RATE), np.float32)
    noise = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32) * 0.1
    audio[:, :RATE] = noise
    audio[:, 2 * RATE : 3 * RATE] = noise
    return audio


@pytest.mark.parametrize("treatment", [t for t, _ in vocal_chain.TREATMENTS], ids=lambda t: t.__name__)
def test_treatments_keep_length_and_silence(treatment: vocal_chain.Treatment) -> None:
    for seed in range(3):
        audio = bursts()
        out = treatment(np.random.default_rng(seed), audio, 0.5)
        assert out.shape == audio.shape
        assert np.isfinite(out).all()
        assert not np.allclose(out, audio, atol=1e-4)
        np.testing.assert_array_equal(audio, bursts())
        silent = treatment(np.random.default_rng(seed), np.zeros((2, RATE), np.float32), 0.5)
        assert not silent.any()


def test_throws_echo_the_ends_of_phrases_only() -> None:
    gate = vocal_chain.phrase_ends(bursts(), 0.25, 1.0, np.random.default_rng(0))
    assert gate[: int(0.6 * RATE)].max() < 1e-3
    assert gate[int(0.9 * RATE)] > 0.99
    assert gate[int(1.5 * RATE) : int(2.5 * RATE)].max() < 1e-3
    assert gate[int(2.9 * RATE)] > 0.99


@WORLD
def test_a_whisper_has_no_pitch() -> None:
    manner = sing.Manner(0.0, 5.5, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0, whisper=True)
    line = [sing.Sung(0.1, 0.9, 57.0, 1.0, vowel_bank().find("-", "あ"))]
    audio, f0 = sing.voice(np.random.default_rng(0), line, AnalysisStore(None, vowel_frames), manner, 1.0)
    assert not f0.any()
    assert audio.any()


def test_a_choir_sings_the_same_clips_later_and_detuned(tmp_path: Path) -> None:
    sound = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    placed = [clips.Placement(tmp_path / "a", 0.5, sound)]
    late = clips.lay_clips(placed, 2.0, late=0.1, cents=100)
    assert late[: int(0.6 * RATE)].max() == 0
    part = late[int(0.65 * RATE) : int(0.65 * RATE) + 32768] * np.hanning(32768)
    assert np.abs(np.fft.rfft(part)).argmax() * RATE / 32768 == pytest.approx(440 * 2 ** (1 / 12), abs=2)


@WORLD
@pytest.mark.parametrize("share", [0.0, 1.0], ids=["sung", "recorded"])
def test_various_songs_hold_what_songs_hold(sources: songs.Sources, share: float) -> None:
    for seed in range(3):
        song = songs.render_song(np.random.default_rng(seed), replace(sources, clip_share=share))
        again = songs.render_song(np.random.default_rng(seed), replace(sources, clip_share=share))
        assert song.meta == again.meta
        for name, stem in song.stems.items():
            np.testing.assert_array_equal(stem, again.stems[name])
            assert stem.dtype == np.float32
            assert np.isfinite(stem).all()
            assert np.abs(stem).max() <= 0.99 + 1e-4
        assert 0.02 < np.abs(song.mixture).max() <= 0.98 + 1e-3
        for name in ("drums", "bass", "vocals"):
            planned = any(name in active for _, _, active in song.meta["sections"])
            assert planned == bool(np.abs(song.stems[name]).max() > 0), name
