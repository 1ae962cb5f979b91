"""Synthesizers of chords and melodies: in tune, in time, finite."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import RATE, spectrum

from songs.instruments.polysynths import SYNTHS, played


@pytest.mark.parametrize("name", SYNTHS)
@pytest.mark.parametrize("seed", range(2))
def test_synths_play_the_pitch_when_asked_and_nothing_else(name: str, seed: int) -> None:
    audio = SYNTHS[name](np.random.default_rng(seed), [(0.5, 0.6, 57, 100)], 3.0)  # A3, 220 Hz
    assert audio.shape == (2, 3 * RATE)
    assert np.isfinite(audio).all()
    peak = np.abs(audio).max()
    assert 0.02 < peak < 5
    assert np.abs(audio[:, : int(0.45 * RATE)]).max() < 0.02 * peak
    assert np.abs(audio[:, int(2.4 * RATE) :]).max() < 0.03 * peak
    part = audio.mean(0)[int(0.52 * RATE) : int(1.1 * RATE)]
    hertz, power = spectrum(part * np.hanning(len(part)))
    harmonic = np.abs(hertz / 110 - np.round(hertz / 110)) < 0.2
    assert power[harmonic].sum() > (0.55 if name == "bell" else 0.8) * power.sum()


@pytest.mark.parametrize("name", SYNTHS)
def test_no_notes_are_silence(name: str) -> None:
    assert not SYNTHS[name](np.random.default_rng(0), [], 0.5).any()


def test_a_key_is_made_once_and_played_often() -> None:
    made: list[float] = []

    def wave(hertz: float, samples: int) -> np.ndarray:
        made.append(hertz)
        return np.ones((2, samples), np.float32)

    notes = [(0.1, 0.2, 69, 127), (0.5, 0.1, 69, 64), (0.9, 0.5, 60, 127)]
    audio = played(notes, 1.0, wave, (0.0001, 1e9, 1.0, 0.01))
    assert sorted(made) == [pytest.approx(261.6, abs=0.1), 440.0]
    assert audio[0, int(0.2 * RATE)] == pytest.approx(1.0)
    assert audio[0, int(0.55 * RATE)] == pytest.approx(64 / 127)
    assert audio[0, int(0.4 * RATE)] == 0
    assert audio[0, -1] == pytest.approx(1.0)
