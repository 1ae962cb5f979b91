"""Bins and hertz are each other's inverse, and a contour is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemsplit.melody.contour import Contour
from stemsplit.melody.pitch import PitchGrid

GRID = PitchGrid(65.0, 20.0, 267)


def contour(frequency: list[float], voiced: list[bool], hop: float = 0.01) -> Contour:
    sung = np.array(voiced, dtype=bool)
    return Contour(hop, np.array(frequency), sung.astype(np.float32), sung)


def test_sixty_bins_of_twenty_cents_are_an_octave() -> None:
    hz = GRID.hz()
    assert hz.shape == (267,)
    assert hz[0] == 65
    assert hz[60] == pytest.approx(130)
    assert (np.diff(hz) > 0).all()


@given(st.floats(20, 5000), st.floats(1, 100), st.floats(10, 300))
def test_bins_of_is_the_inverse(hz: float, cents: float, lowest: float) -> None:
    grid = PitchGrid(lowest, cents, 12)
    assert grid.hz_of(grid.bins_of(hz)) == pytest.approx(hz)
    np.testing.assert_allclose(grid.bins_of(grid.hz()), np.arange(12), atol=1e-6)


@pytest.mark.parametrize("numbers", [(0, 20, 9), (65, 0, 9), (65, 20, 0), (float("nan"), 20, 9), (65, float("inf"), 9)])
def test_a_grid_is_checked(numbers: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="grid"):
        PitchGrid(*numbers)


def test_frames_are_evenly_spaced_from_zero() -> None:
    made = contour([220.0, 220.0, 220.0], [True, False, True], hop=0.02)
    np.testing.assert_allclose(made.times, [0, 0.02, 0.04])
    assert len(made) == 3
    assert len(contour([], []).times) == 0


def test_a_contour_is_checked() -> None:
    contour([0.0, 220.0], [False, True])  # no guess
    for frequency, voiced, hop in (
        ([0.0], [True], 0.01),
        ([-1.0], [False], 0.01),
        ([float("nan")], [False], 0.01),
        ([220.0], [True], 0.0),
        ([220.0], [True], float("nan")),
        ([220.0], [True, True], 0.01),
    ):
        with pytest.raises(ValueError):
            contour(frequency, voiced, hop)
    with pytest.raises(ValueError, match="bool"):
        Contour(0.01, np.ones(1), np.ones(1, dtype=np.float32), np.ones(1))
