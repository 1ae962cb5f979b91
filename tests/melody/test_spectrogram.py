"""The picture's spectrogram: the right bin at the right time, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from stemsplit.melody.spectrogram import HIGHEST_MIDI, LOWEST_MIDI, SAMPLE_RATE, Spectrogram


def tone(hz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE).astype(np.float32)


def of(samples: np.ndarray, block: int = 100_000, columns: int = 16_384) -> Spectrogram:
    spectrogram = Spectrogram(columns)
    for start in range(0, len(samples), block):
        spectrogram.add(samples[start : start + block])
    return spectrogram


@pytest.mark.parametrize("midi", [40, 57, 69, 81, 100])
def test_a_tone_is_loudest_at_its_pitch(midi: int) -> None:
    image = of(tone(440 * 2 ** ((midi - 69) / 12), 1.0)).decibels()
    assert image.max() == 0
    loudest = LOWEST_MIDI + image[:, 10:-10].mean(axis=1).argmax() / (len(image) - 1) * (HIGHEST_MIDI - LOWEST_MIDI)
    assert loudest == pytest.approx(midi, abs=0.7)


def test_a_tone_is_seen_when_it_sounds() -> None:
    spectrogram = of(np.concatenate([np.zeros(16_000), tone(440, 1.0), np.zeros(16_000)]))
    seen = np.flatnonzero(spectrogram.decibels().max(axis=0) > -10) * spectrogram.column_seconds
    assert seen[0] == pytest.approx(1.0, abs=0.04)
    assert seen[-1] == pytest.approx(2.0, abs=0.04)
    assert spectrogram.seconds == 3


@pytest.mark.parametrize("columns", [16_384, 10])
def test_blocks_do_not_matter(columns: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 30_001).astype(np.float32)
    whole = of(samples, columns=columns).decibels()
    for block in (1000, 7, 255, 2048):
        np.testing.assert_allclose(of(samples, block, columns).decibels(), whole, atol=1e-2)


def test_long_audio_stays_bounded_and_in_time() -> None:
    samples = np.concatenate([np.zeros(80_000, np.float32), tone(440, 5.0)])
    for columns in (8, 20, 64):
        spectrogram = of(samples, 4000, columns)
        image = spectrogram.decibels()
        assert image.shape[1] <= columns + 2
        assert image.shape[1] * spectrogram.column_seconds == pytest.approx(10, abs=1.1 * spectrogram.column_seconds)
        loud = image.max(axis=0) > -6
        assert loud.argmax() * spectrogram.column_seconds == pytest.approx(5, abs=1.1 * spectrogram.column_seconds)


def test_columns_are_mean_powers() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 64 * 256).astype(np.float32)
    fine, coarse = (10 ** (of(samples, columns=columns).decibels() / 10) for columns in (1000, 16))
    means = fine[:, :64].reshape(len(fine), 16, 4).mean(axis=2)
    ratio = coarse[:, :16] / means
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)


@pytest.mark.parametrize("samples", [0, 1, 255, 1024])
def test_hardly_any_audio(samples: int) -> None:
    spectrogram = of(np.full(samples, 0.1, np.float32))
    image = spectrogram.decibels()
    assert image.shape[1] == 1 + samples // 256
    assert np.isfinite(image).all()
    np.testing.assert_array_equal(image, spectrogram.decibels())  # looking changes nothing


def test_silence_and_nan_are_drawn() -> None:
    assert np.isfinite(of(np.zeros(16_000)).decibels()).all()
    assert np.isfinite(of(np.full(16_000, np.nan)).decibels()).all()


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="mono"):
        Spectrogram().add(np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match="even"):
        Spectrogram(columns=7)
