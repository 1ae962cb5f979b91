"""The codec of training data: the transform against its definition, noise below the music, sizes, damage."""

from __future__ import annotations

import numpy as np
import pytest

from stemsplit.errors import StemsplitError
from stemsplit.training.examples import codec

RATE = 44100


def music(samples: int, seed: int = 0) -> np.ndarray:
    """Decaying harmonics struck four times a second, with a little noise: int16 (samples, 2)."""
    rng, time = np.random.default_rng(seed), np.arange(samples) / RATE
    left = sum(np.sin(2 * np.pi * 220 * k * time) / k**1.5 for k in range(1, 20)) * np.exp(-8 * (time % 0.25))
    right = 0.5 * left + 0.01 * rng.standard_normal(samples)
    return np.round(8000 * np.stack([left, right], axis=1)).astype(np.int16)


def snr_db(wanted: np.ndarray, got: np.ndarray) -> float:
    wanted = wanted.astype(np.float64)
    return float(10 * np.log10((wanted**2).sum() / ((got - wanted) ** 2).sum()))


def slow_mdct(audio: np.ndarray) -> np.ndarray:
    """The transform by its definition, in float64."""
    size = codec.HOP
    frames = -(-len(audio) // size) + 1
    padded = np.concatenate([np.zeros(size), audio, np.zeros(2 * size)])
    n = np.arange(2 * size)
    out = np.zeros((frames, size))
    for frame in range(frames):
        part = padded[frame * size : frame * size + 2 * size] * np.sin(np.pi * (n + 0.5) / (2 * size))
        for k in range(0, size, 97):
            out[frame, k] = np.sqrt(2 / size) * (part * np.cos(np.pi / size * (n + 0.5 + size / 2) * (k + 0.5))).sum()
    return out


def test_the_transform_is_what_its_formula_says() -> None:
    audio = np.random.default_rng(0).standard_normal(5000)
    slow, fast = slow_mdct(audio), codec.mdct(audio)
    assert fast.shape == slow.shape
    np.testing.assert_allclose(fast[:, ::97], slow[:, ::97], atol=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 1023, 1024, 1025, 5000])
def test_the_transform_is_undone(samples: int) -> None:
    audio = np.random.default_rng(0).standard_normal(samples)
    np.testing.assert_allclose(codec.inverse_mdct(codec.mdct(audio), samples), audio, atol=1e-4)


def test_music_comes_back_well_above_the_noise_and_small() -> None:
    audio = music(4 * RATE)
    packed = codec.encode(audio)
    back = codec.decode(packed)
    assert back.shape == audio.shape
    assert back.dtype == np.int16
    assert snr_db(audio, back) > 14
    assert len(packed) * 8 / 4 < 128_000  # bits per second
    finer = codec.decode(codec.encode(audio, codec.COARSENESS / 4))
    assert snr_db(audio, finer) > snr_db(audio, back) + 8


def test_noise_follows_the_bands_of_the_music() -> None:
    rng = np.random.default_rng(1)
    coefficients = (rng.standard_normal((40, codec.HOP)) * 3000 * np.exp(-np.arange(codec.HOP) / 200)).astype(
        np.float32
    )
    back = codec.dequantise(codec.quantise(coefficients))
    for low, high in ((0, 32), (128, 256), (320, 384)):
        band = slice(low, high)
        assert snr_db(coefficients[:, band], back[:, band]) > 4
    assert not back[:, codec.EDGES[-1] :].any()


def test_a_stroke_larger_than_its_band_still_fits_a_byte() -> None:
    coefficients = np.zeros((8, codec.HOP), np.float32)
    coefficients[3, 5] = 1e6
    back = codec.dequantise(codec.quantise(coefficients))
    assert back[3, 5] == pytest.approx(1e6, rel=0.1)
    assert np.count_nonzero(back) == 1


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("samples", [0, 1, 3000])
def test_any_shape_and_silence_come_back(samples: int, channels: int) -> None:
    silence = np.zeros((samples, channels), np.int16)
    np.testing.assert_array_equal(codec.decode(codec.encode(silence)), silence)
    loud = np.full((samples, channels), 32767, np.int16)
    assert codec.decode(codec.encode(loud)).shape == loud.shape


def test_long_silence_takes_hardly_anything() -> None:
    assert len(codec.encode(np.zeros((20 * RATE, 2), np.int16))) < 2000


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:-9], lambda d: b"nope" + d[4:], lambda d: d[:9]])
def test_what_is_damaged_is_refused(damage: object) -> None:
    with pytest.raises(StemsplitError, match="cannot be read"):
        codec.decode(damage(codec.encode(music(3000))))  # type: ignore[operator]
