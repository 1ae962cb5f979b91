"""Recorded singing: listed, transposed, laid into a song, and given its upper octave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import RATE, vocal_form, write_clips

from songs.voices import recorded


def test_clips_are_listed_by_singer(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", ("ann", "bob", "eve"))
    assert set(recorded.list_clips(folder, None, ("eve",)).songs) == {"ann_1", "bob_1"}
    only = recorded.list_clips(folder, ("eve",))
    assert [path.name for path in only.songs["eve_1"]] == ["eve_1_01.voice.opus", "eve_1_02.voice.opus"]
    assert set(only.melodies) == {f"{s}_1_0{i}" for s in ("ann", "bob", "eve") for i in (1, 2)}


def test_clips_sound_in_vocal_sections_only(tmp_path: Path) -> None:
    found = recorded.list_clips(write_clips(tmp_path / "clips"), None)
    audio, names = recorded.place_clips(np.random.default_rng(0), vocal_form(), found, 7.0)
    assert names
    assert audio.shape == (7 * 44100,)
    assert np.abs(audio[: 2 * 44100 - 4000]).max() < 1e-3
    assert np.abs(audio[2 * 44100 : 3 * 44100]).max() > 0.1
    assert np.abs(audio[6 * 44100 + 8000 :]).max() < 1e-3


def test_the_least_shift_that_fits_the_scale_wins() -> None:
    major = frozenset({0, 2, 4, 5, 7, 9, 11})
    assert recorded.best_shift(np.array([60.0, 62, 64, 65, 67, 0]), major) == 0
    assert recorded.best_shift(np.array([61.0, 63, 65, 66, 68, 70, 72]), major) == -1
    assert recorded.best_shift(np.zeros(5), major) == 0


def test_extension_adds_an_upper_octave_and_keeps_the_lower() -> None:
    time = np.arange(44100) / 44100
    voice = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 33)).astype(np.float32)
    out = recorded.extend(np.random.default_rng(0), voice)
    before, after = np.abs(np.fft.rfft(voice)) ** 2, np.abs(np.fft.rfft(out)) ** 2
    assert after[9000:12000].sum() > 100 * before[9000:12000].sum()
    assert after[9000:].sum() < 0.01 * after.sum()
    assert after[100:3000].sum() == pytest.approx(before[100:3000].sum(), rel=0.01)
    assert not recorded.extend(np.random.default_rng(0), np.zeros(1000, np.float32)).any()


def test_a_choir_sings_the_same_clips_later_and_detuned(tmp_path: Path) -> None:
    sound = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    placed = [recorded.Placement(tmp_path / "a", 0.5, sound)]
    late = recorded.lay_clips(placed, 2.0, late=0.1, cents=100)
    assert late[: int(0.6 * RATE)].max() == 0
    part = late[int(0.65 * RATE) : int(0.65 * RATE) + 32768] * np.hanning(32768)
    assert np.abs(np.fft.rfft(part)).argmax() * RATE / 32768 == pytest.approx(440 * 2 ** (1 / 12), abs=2)
