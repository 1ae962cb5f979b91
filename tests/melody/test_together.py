"""Two streams of posteriors become one."""

from __future__ import annotations

import numpy as np
import pytest

from stemsplit.melody.posterior import together


def beliefs(rng: np.random.Generator, frames: int) -> np.ndarray:
    rows = rng.random((frames, 5)).astype(np.float32)
    return rows / rows.sum(1, keepdims=True)


def cut(rows: np.ndarray, *places: int) -> list[np.ndarray]:
    return np.split(rows, places)


@pytest.mark.parametrize(("first", "second"), [((), ()), ((3, 7), (1, 2, 9)), ((1,), (10,)), ((0, 5), (5,))])
def test_it_is_the_normalised_geometric_mean_however_the_streams_are_cut(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    a, b = beliefs(rng, 12), beliefs(rng, 12)
    found = np.concatenate(list(together(cut(a, *first), cut(b, *second))))
    mean = np.sqrt(a * b)
    np.testing.assert_allclose(found, mean / mean.sum(1, keepdims=True), rtol=1e-5)
    assert found.dtype == np.float32


def test_one_that_agrees_with_itself_stays_as_it_was() -> None:
    rows = beliefs(np.random.default_rng(0), 6)
    np.testing.assert_allclose(np.concatenate(list(together([rows], [rows]))), rows, rtol=1e-5)


def test_missing_frames_of_the_second_leave_the_first_alone() -> None:
    rng = np.random.default_rng(0)
    a, b = beliefs(rng, 6), beliefs(rng, 4)
    found = np.concatenate(list(together(cut(a, 2), cut(b, 3))))
    assert len(found) == 6
    np.testing.assert_array_equal(found[4:], a[4:])
    np.testing.assert_array_equal(np.concatenate(list(together([a], []))), a)


def test_certainties_that_exclude_each_other_give_no_nan() -> None:
    a, b = np.eye(5, dtype=np.float32)[[0, 1]], np.eye(5, dtype=np.float32)[[2, 1]]
    found = np.concatenate(list(together([a], [b])))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
