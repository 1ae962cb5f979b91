"""Singing: pitch contours, frames, sound."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import vowel_bank, vowel_frames

from songs.voices import sing, voicebank
from songs.voices.line import Manner, Sung
from songs.voices.voicebank import AnalysisStore

WORLD = pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")
MANNER = Manner(0.0, 5.5, 0.05, 1.0, 0.0, 1.0, 0.0, 0.0)


def test_the_contour_reaches_each_pitch_scoops_after_rests_and_glides_otherwise() -> None:
    sung = [Sung(0.5, 1.0, 60, 1, None), Sung(1.0, 1.5, 67, 1, None)]
    contour = sing.pitch_contour(np.random.default_rng(0), sung, MANNER, 400)
    assert contour[96] == pytest.approx(59.0, abs=0.1)  # a semitone below at the start
    assert contour[180] == pytest.approx(60.0)
    assert contour[200] == pytest.approx(63.5, abs=0.5)  # halfway up at the second note
    assert contour[280] == pytest.approx(67.0)


def test_vibrato_swings_about_a_long_note() -> None:
    manner = Manner(0.5, 5.0, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0)
    contour = sing.pitch_contour(np.random.default_rng(0), [Sung(0.0, 3.0, 60, 1, None)], manner, 600)
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
    sung = [Sung(0.5, 1.0, 60, 1, bank.find("-", "あ")), Sung(1.5, 2.0, 60, 1, bank.find("-", "ら"))]
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


@WORLD
def test_a_whisper_has_no_pitch() -> None:
    manner = Manner(0.0, 5.5, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0, whisper=True)
    line = [Sung(0.1, 0.9, 57.0, 1.0, vowel_bank().find("-", "あ"))]
    audio, f0 = sing.voice(np.random.default_rng(0), line, AnalysisStore(None, vowel_frames), manner, 1.0)
    assert not f0.any()
    assert audio.any()


@WORLD
def test_synthetic_singing_sounds_at_the_pitch_it_reports() -> None:
    pyworld = pytest.importorskip("pyworld")
    rng = np.random.default_rng(0)
    manner = Manner(0.2, 5.5, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0)
    bank, store = vowel_bank(), AnalysisStore(None, vowel_frames)
    syllable = bank.find("-", "あ")
    line = [Sung(0.3, 1.0, 57.0, 1.0, syllable), Sung(1.0, 1.6, 64.0, 1.0, syllable)]
    audio, f0 = sing.voice(rng, line, store, manner, 2.0)
    assert audio.shape == (88200,)
    heard, times = pyworld.harvest(audio.astype(np.float64), 44100, f0_floor=80, f0_ceil=800, frame_period=5.0)
    both = (f0[: len(heard)] > 0) & (heard[: len(f0)] > 0) & (times[: len(f0)] > 0.35) & (times[: len(f0)] < 1.5)
    cents = 1200 * np.log2(heard[: len(f0)][both] / f0[: len(heard)][both])
    assert both.sum() > 150
    assert np.median(np.abs(cents)) < 10
    assert abs(np.median(f0[80:180]) - 220) < 3
    assert abs(np.median(f0[230:310]) - 329.6) < 4
    assert np.abs(audio[: int(0.2 * 44100)]).max() < 1e-3 * np.abs(audio).max()
