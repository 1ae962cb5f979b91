"""Recorded voices as others: pitch and resonances apart."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

pytest.importorskip("scipy")

from songs.voices import recast


def vowel(hertz: float, formant: float, rate: int = 16000) -> np.ndarray:
    """A second of harmonics under one resonance."""
    time, tone = np.arange(rate) / rate, np.zeros(rate)
    for k in range(1, int(6000 / hertz)):
        tone += (0.2 / k + np.exp(-(((k * hertz - formant) / 400) ** 2))) * np.sin(2 * np.pi * k * hertz * time)
    return (0.2 * tone).astype(np.float32)


def centroid(voice: np.ndarray, rate: int = 16000) -> float:
    power = np.abs(np.fft.rfft(voice)) ** 2
    return float((power * np.fft.rfftfreq(len(voice), 1 / rate)).sum() / power.sum())


@pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")
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
