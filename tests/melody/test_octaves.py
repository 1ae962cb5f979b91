"""A pitch of which only every second or third harmonic is there is put right; others stay as they are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from stemsplit.melody.octaves import Octaves
from stemsplit.melody.pitch import PitchGrid
from stemsplit.melody.posterior import posteriors
from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL
from stemsplit.weights.model import load_model

RATE, HOP = 16000, 160
GRID = PitchGrid(65.0, 20.0, 267)


def tones(hertz: Iterable[float], samples: int = 4800) -> np.ndarray:
    time = np.arange(samples) / RATE
    noise = 1e-4 * np.random.default_rng(0).standard_normal(samples)
    return (noise + sum(0.1 * np.sin(2 * np.pi * hz * time + hz) for hz in hertz)).astype(np.float32)


def claim(hz: float, frames: int = 10) -> np.ndarray:
    """Posteriors that are sure of a pitch, and of a voice with 0.9: (frames, 1 + bins)."""
    rows = np.full((frames, 1 + GRID.bins), 1e-6, np.float32)
    at = 1 + round(float(GRID.bins_of(hz)))
    rows[:, 0], rows[:, at - 1 : at + 2] = 0.1, (0.2, 0.5, 0.2)
    return rows / rows.sum(1, keepdims=True)


def read(rows: np.ndarray) -> float:
    """The pitch in Hz that most rows are sure of."""
    return float(np.median(GRID.hz_of(rows[:, 1:].argmax(1))))


@pytest.mark.parametrize(
    ("claimed", "sounding", "expected"),
    [
        (500, (1000, 2000, 3000), 1000),
        (500, (1000,), 1000),
        (467, (1400, 2800), 1400),
        (500, (500, 1000, 1500), 500),
        (500, (500,), 500),
        (500, (1000, 1500, 2000, 2500), 500),  # only the first is missing, as in a telephone
        (1000, (1000, 2000, 3000), 1000),
        (300, (600, 1200), 300),  # low enough to be left to the network
    ],
)
def test_only_a_pitch_whose_harmonics_are_missing_is_raised(
    claimed: float, sounding: tuple[float, ...], expected: float
) -> None:
    given = claim(claimed)
    rows = Octaves(GRID, RATE, HOP).of_the_voice(given, tones(sounding), 10)
    assert 1200 * abs(np.log2(read(rows) / expected)) < 25
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[:, 0], 0.1, atol=1e-3)
    if expected == claimed:
        assert rows is given


def test_a_pitch_above_all_that_are_told_apart_is_not_sung() -> None:
    rows = Octaves(GRID, RATE, HOP).of_the_voice(claim(750), tones((1500, 3000)), 10)
    assert (rows[:, 0] > 0.99).all()


def test_silence_noise_and_the_ends_of_a_voice_change_nothing() -> None:
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, 4800).astype(np.float32)
    for samples in (np.zeros(4800, np.float32), noise, np.zeros(0, np.float32), noise[:1]):
        frames = 1 + len(samples) // HOP
        given = claim(700, frames)
        assert Octaves(GRID, RATE, HOP).of_the_voice(given, samples, 0) is given
    rows = Octaves(GRID, RATE, HOP).of_the_voice(claim(500, 31), tones((1000, 2000)), 0)
    assert abs(1200 * np.log2(read(rows[[3, -4]]) / 1000)) < 25


def test_the_song_is_changed_where_its_voice_was() -> None:
    octaves, voice = Octaves(GRID, RATE, HOP), tones((1000, 2000))
    octaves.of_the_voice(claim(500), voice, 0)
    octaves.of_the_voice(claim(500), tones((500, 1000)), 0)
    song = [octaves.of_the_song(claim(500, frames), voice, 0) for frames in (4, 6, 12)]
    assert [round(read(rows) / 500) for rows in song] == [2, 2, 1]


def test_high_voices_are_read_at_their_pitch_by_the_weights_that_ship() -> None:
    network = load_model(DEFAULT_MELODY_MODEL, "melody").network
    time = np.arange(int(0.4 * RATE)) / RATE

    def voice(hz: float) -> np.ndarray:
        phase = 2 * np.pi * np.cumsum(hz * 2 ** (0.3 / 12 * np.sin(2 * np.pi * 6 * time))) / RATE
        return sum(0.3 / k**2 * np.sin(k * phase) for k in range(1, int(7500 / hz)))  # type: ignore[return-value]

    for hz in (523.0, 880.0, 988.0, 1175.0, 1318.0):
        octaves = Octaves(GRID, RATE, HOP)
        samples = voice(hz).astype(np.float32)
        rows = np.concatenate(list(posteriors(network, [samples], correct=octaves.of_the_voice)))[10:30]
        assert abs(1200 * np.log2(read(rows) / hz)) < 50, hz
        assert rows[:, 0].max() < 0.5
