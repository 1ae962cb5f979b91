"""Gliding leads and sub-basses."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import RATE, spectrum

from songs.instruments import leads


def test_lines_glide_and_arrive() -> None:
    events = [(0.0, 0.5, 60, 100), (0.5, 0.5, 67, 100)]
    pitch = leads.glided(events, RATE, 0.1)
    assert pitch[round(0.4 * RATE)] == 60
    assert 62 < pitch[round(0.55 * RATE)] < 65
    assert pitch[round(0.7 * RATE)] == 67
    np.testing.assert_array_equal(leads.glided([], 10, 0.1), np.full(10, 60.0))


@pytest.mark.parametrize("synth", [leads.synth_lead, leads.sub_bass])
def test_gliding_synths_play_the_pitch_when_asked_and_nothing_else(synth: object) -> None:
    for seed in range(4):
        audio = synth(np.random.default_rng(seed), [(0.5, 1.0, 45, 100)], 3.0)  # type: ignore[operator]
        assert audio.shape == (2, 3 * RATE)
        assert np.isfinite(audio).all()
        assert np.abs(audio[:, : int(0.45 * RATE)]).max() < 1e-3
        assert np.abs(audio[:, int(2.2 * RATE) :]).max() < 0.02 * np.abs(audio).max()
        part = audio[0, int(0.9 * RATE) : int(1.4 * RATE)]
        hertz, power = spectrum(part * np.hanning(len(part)))
        assert power[(hertz > 100) & (hertz < 120)].sum() > 0.2 * power.sum()  # A2, 110 Hz
