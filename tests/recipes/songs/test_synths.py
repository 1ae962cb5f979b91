"""Simple synthesizers: pitch, time, aliasing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import RATE

from songs.instruments import synths


@pytest.mark.parametrize("synth", [synths.synth_bass, synths.synth_pad])
def test_synths_play_the_pitch_when_asked_and_nothing_else(synth: object) -> None:
    for seed in range(4):
        audio = synth(np.random.default_rng(seed), [(0.5, 0.5, 57, 100)], 2.0)  # type: ignore[operator]
        assert audio.shape == (2, 2 * RATE)
        assert not audio[:, : RATE // 2 - 1].any()
        assert np.abs(audio[:, int(1.6 * RATE) :]).max() < 0.01
        part = audio[0, RATE // 2 : RATE] * np.hanning(RATE // 2)
        peak = np.abs(np.fft.rfft(part, 8 * RATE))[: 8 * 2000].argmax() / 8
        assert min(abs(peak - 220 * k) for k in (1, 2, 3)) < 4


def test_synths_without_events_or_past_the_end() -> None:
    rng = np.random.default_rng(0)
    assert not synths.synth_bass(rng, [], 0.5).any()
    assert not synths.synth_pad(rng, [(3.0, 1.0, 60, 90)], 0.5).any()


def test_risers_swell_before_their_time() -> None:
    audio = synths.risers(np.random.default_rng(0), [3.0, 0.0], 4.0)
    assert not audio[:, : RATE - 10].any()
    assert (audio[:, int(2.8 * RATE) : 3 * RATE] ** 2).mean() > 100 * (audio[:, RATE : int(1.5 * RATE)] ** 2).mean()
    assert 20 * np.log10(np.sqrt((audio[:, int(2.9 * RATE) : 3 * RATE] ** 2).mean())) == pytest.approx(-30, abs=3)


def test_saws_do_not_alias() -> None:
    wave = synths.saw(3001.0, RATE)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(RATE)))
    spectrum[[k + d for k in range(0, 22050, 3001) for d in range(-4, 5) if 0 <= k + d < len(spectrum)]] = 0
    assert 20 * np.log10(spectrum[:6000].max() / (RATE / 4)) < -35
