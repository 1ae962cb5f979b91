"""Risers, sweeps, impacts and old records: where they belong, without sub-bass."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from song_sources import RATE, spectrum

from songs.instruments.ornaments import ORNAMENTS, impact, riser


@pytest.mark.parametrize("name", ORNAMENTS)
def test_ornaments_are_finite_and_have_no_sub_bass(name: str) -> None:
    audio = ORNAMENTS[name](np.random.default_rng(1), [0.0, 2.0, 3.9], 4.0, 0.25)
    assert audio.shape == (2, 4 * RATE)
    assert np.isfinite(audio).all()
    assert 1e-3 < np.abs(audio).max() < 1.5
    hertz, power = spectrum(audio[0])
    assert power[hertz < 50].sum() < 0.02 * power.sum()


def test_risers_come_before_and_impacts_after() -> None:
    level = lambda sound, low, high: float(np.abs(sound[:, int(low * RATE) : int(high * RATE)]).mean())  # noqa: E731
    rising = riser(np.random.default_rng(0), [2.0], 4.0, 0.25)
    assert level(rising, 1.8, 2.0) > 2 * level(rising, 0.9, 1.1)
    assert level(rising, 2.2, 4.0) < 0.01 * level(rising, 1.8, 2.0)
    fallen = impact(np.random.default_rng(0), [2.0], 4.0, 0.25)
    assert level(fallen, 0.0, 1.99) == 0
    assert level(fallen, 2.0, 2.3) > 2 * level(fallen, 3.5, 4.0)
