"""What is added above the recorded band."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from song_sources import spectrum

from songs.voices.people.talk import BINS, HERTZ
from songs.voices.people.upper_band import upper_band

RATE = 44100


def density(logs: np.ndarray, f0: float, low: float, high: float) -> float:
    """The power per sample in a band of what is added to a second of frames that are all the same."""
    frames = np.tile(logs.astype(np.float32), (201, 1))
    sound = upper_band(np.random.default_rng(0), frames, np.full(201, f0), RATE)
    assert sound.dtype == np.float32
    hertz, power = spectrum(sound)
    inside = (hertz >= low) & (hertz < high)
    return float(power[inside].mean() / RATE)


def test_level_ground_goes_on_level() -> None:
    flat = np.zeros(BINS)
    assert 10 * np.log10(density(flat, 0.0, 8500, 9500) * 16000 / RATE) == pytest.approx(-0.5, abs=0.7)
    assert density(flat, 0.0, 0, 7000) < 1e-4


def test_a_slope_goes_on_and_vowels_fall_faster_than_consonants() -> None:
    slope = -2.0 * np.log2(np.maximum(HERTZ, 100) / 6500)
    fall = 10 * np.log10(density(slope, 0.0, 11000, 12500) / density(slope, 0.0, 8200, 9000))
    assert fall == pytest.approx(-10 * 2.0 * np.log10(np.e) * np.log2(11.75 / 8.6), abs=0.8)
    flat = np.zeros(BINS)
    assert density(flat, 200.0, 11000, 13000) < 0.5 * density(flat, 0.0, 11000, 13000)


def test_silence_stays_silence() -> None:
    assert density(np.full(BINS, -26.0), 0.0, 0, 22000) == 0


def test_breath_pulses_with_the_pitch() -> None:
    sound = upper_band(np.random.default_rng(0), np.zeros((201, BINS), np.float32), np.full(201, 100.0), RATE)
    hertz, power = spectrum(sound**2)
    at_pitch = power[(hertz > 98) & (hertz < 102)].max()
    assert at_pitch > 20 * np.median(power[(hertz > 40) & (hertz < 90)])
