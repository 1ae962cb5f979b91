"""Moving filters: nothing changes where the magnitude is 1, and what is filtered is what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from song_sources import RATE, spectrum

from songs.mix import spectral


@pytest.mark.parametrize("samples", [1, 255, 1024, 5000, 44100])
def test_a_magnitude_of_one_changes_nothing(samples: int) -> None:
    sound = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    ones = np.ones((spectral.frames_of(samples), 1), np.float32)
    np.testing.assert_allclose(spectral.filtered(sound, ones), sound, atol=1e-5)
    assert len(spectral.frame_samples(samples)) == spectral.frames_of(samples)


def test_a_sweep_moves_the_treble_where_it_is_told() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    cutoff = np.repeat(np.array([300.0, 6000.0], np.float32), RATE)
    sound = spectral.swept(noise, cutoff, 0.7)
    hertz, low = spectrum(sound[: RATE - 2048])
    _, high = spectrum(sound[RATE + 2048 :])
    above = lambda power: float(power[np.linspace(0, RATE / 2, len(power)) > 1500].sum() / power.sum())  # noqa: E731
    assert above(low) < 0.03
    assert above(high) > 0.5
    assert hertz[-1] == pytest.approx(RATE / 2, rel=0.01)


def test_a_resonance_is_as_high_as_it_is_told() -> None:
    magnitude = spectral.lowpass_magnitude(np.array([1000.0]), 5.0, poles=2)[0]
    near = int(np.argmin(np.abs(spectral.HERTZ - 1000)))
    assert magnitude[near] == pytest.approx(5.0, rel=0.05)
    assert magnitude[0] == pytest.approx(1.0)
    assert magnitude[-1] < 0.01
