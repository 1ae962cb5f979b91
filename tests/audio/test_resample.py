"""Sample rates: the exact length, the same instant, whatever the blocks are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.audio import resample, resampled_length

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000)


def split(samples: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    start = 0
    for size in sizes:
        yield samples[:, start : start + size]
        start += size
    yield samples[:, start:]


def convert(samples: np.ndarray, rate_in: int, rate_out: int, sizes: list[int] | None = None) -> np.ndarray:
    parts = list(resample(split(samples, sizes or []), rate_in, rate_out, len(samples)))
    assert all(part.dtype == np.float32 and part.flags.c_contiguous for part in parts)
    return np.concatenate([samples[:, :0], *parts], axis=1)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 4000), st.sampled_from(RATES), st.sampled_from(RATES), st.integers(1, 3))
def test_the_length_is_the_rounded_ratio(frames: int, rate_in: int, rate_out: int, channels: int) -> None:
    made = convert(np.zeros((channels, frames), np.float32), rate_in, rate_out)
    assert made.shape == (channels, resampled_length(frames, rate_in, rate_out))
    assert abs(made.shape[1] - frames * rate_out / rate_in) <= 0.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 900), max_size=6), st.sampled_from([(44100, 48000), (96000, 44100), (22050, 44100)]))
def test_blocks_change_nothing(sizes: list[int], rates: tuple[int, int]) -> None:
    samples = np.random.default_rng(0).standard_normal((2, 3000)).astype(np.float32)
    np.testing.assert_array_equal(convert(samples, *rates, sizes), convert(samples, *rates))


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44100, 48000), (48000, 44100), (96000, 44100), (44100, 22050)])
def test_time_and_level_stay(rate_in: int, rate_out: int) -> None:
    def tone(rate: int) -> np.ndarray:
        time = np.arange(rate) / rate
        return np.stack([np.sin(2 * np.pi * 441 * time), np.cos(2 * np.pi * 5000 * time)]).astype(np.float32)

    inner = slice(rate_out // 10, -rate_out // 10)
    error = (convert(tone(rate_in), rate_in, rate_out) - tone(rate_out))[:, inner]
    assert 20 * np.log10(np.abs(error).max()) < -110


@pytest.mark.parametrize("rate", [8000, 32000, 48000, 96000, 192000])
def test_there_and_back_is_off_by_a_few_samples_at_most(rate: int) -> None:
    for frames in [*range(1, 30), 9999, 10000, 10001]:
        there = resampled_length(frames, rate, 44100)
        assert abs(resampled_length(there, 44100, rate) - frames) <= 8


def test_equal_rates_pass_the_very_same_blocks() -> None:
    block = np.zeros((2, 10), np.float32)
    assert next(resample([block], 44100, 44100, 2)) is block
