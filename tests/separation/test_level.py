"""The level of a whole song, found block by block."""

from __future__ import annotations

import numpy as np
import pytest

from stemsplit.separation.level import EPSILON, Level, level_of


@pytest.mark.parametrize("mean", [0.0, 0.02, 1000.0])
@pytest.mark.parametrize("size", [1, 7, 4096, 100_000])
def test_it_is_that_of_the_whole(mean: float, size: int) -> None:
    song = np.random.default_rng(size).normal(mean, 0.1, (2, 20_000))
    blocks = [song[:, start : start + size] for start in range(0, song.shape[1], size)]
    found = level_of([song[:, :0], *blocks])
    mono = song.mean(0)
    assert found.mean == pytest.approx(mono.mean(), abs=1e-9)
    assert found.deviation == pytest.approx(mono.std(ddof=1) + EPSILON, rel=1e-7)


@pytest.mark.parametrize("samples", [0, 1])
def test_a_sample_or_none_has_no_deviation(samples: int) -> None:
    assert level_of([np.full((2, samples), 0.5, np.float32)]) == Level(0.5 * samples, EPSILON)


def test_silence_stays_silence() -> None:
    silence = np.zeros((2, 100), np.float32)
    level = level_of([silence])
    assert not level.put_back(level.taken_out(silence)[None]).any()


def test_what_is_taken_out_is_put_back() -> None:
    song = np.random.default_rng(0).normal(0.3, 0.01, (2, 1000)).astype(np.float32)
    level = level_of([song])
    heard = level.taken_out(song)
    assert heard.dtype == np.float32
    assert abs(heard.mean()) < 1e-4
    assert heard.mean(0).std(ddof=1) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(level.put_back(heard[None])[0], song, atol=1e-6)


def test_samples_that_are_not_finite_do_not_spoil_it() -> None:
    assert np.isfinite(level_of([np.array([[np.nan, 1.0], [np.inf, 1.0]], np.float32)]).deviation)
