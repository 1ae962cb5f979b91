"""Synthesised basses: in tune, in time, and the deep ones deep."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import RATE, spectrum

from songs.instruments.basses import BASSES, DEEP, eight_o_eight, since

LINE = [(0.5, 0.5, 33, 100), (1.0, 0.9, 33, 110)]  # A1, 55 Hz


@pytest.mark.parametrize("name", BASSES)
@pytest.mark.parametrize("seed", range(3))
def test_basses_play_the_pitch_when_asked_and_nothing_else(name: str, seed: int) -> None:
    audio = BASSES[name](np.random.default_rng(seed), LINE, 3.0, 0.5)
    assert audio.shape == (2, 3 * RATE)
    assert np.isfinite(audio).all()
    peak = np.abs(audio).max()
    assert 0.05 < peak < 4
    assert np.abs(audio[:, : int(0.47 * RATE)]).max() < 0.02 * peak
    part = audio.mean(0)[int(1.1 * RATE) : int(1.7 * RATE)]
    hertz, power = spectrum(part * np.hanning(len(part)))
    harmonic = np.abs(hertz / 27.5 - np.round(hertz / 27.5)) < 0.2
    assert power[harmonic & (hertz < 2000)].sum() > 0.8 * power.sum()
    if name in DEEP:
        assert power[hertz < 120].sum() > 0.5 * power.sum()


@pytest.mark.parametrize("name", BASSES)
def test_no_notes_are_silence(name: str) -> None:
    assert not BASSES[name](np.random.default_rng(0), [], 0.5, 0.5).any()


def test_an_808_dies_away_and_slides() -> None:
    levels = []
    for seed in range(6):
        audio = eight_o_eight(np.random.default_rng(seed), [(0.0, 3.0, 36, 110)], 3.0, 0.5)[0]
        levels.append(np.abs(audio[2 * RATE :]).max() / np.abs(audio[: RATE // 2]).max())
    assert min(levels) < 0.2
    assert max(levels) <= 1.0


def test_time_since_the_latest_note() -> None:
    ago = since([(0.5, 0.1, 40, 100), (0.75, 0.1, 40, 100)], RATE)
    assert ago[0] == 60
    assert ago[RATE // 2 + 441] == pytest.approx(0.01)
    assert ago[-1] == pytest.approx(0.25, abs=1e-4)
