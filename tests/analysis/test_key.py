"""Every key is found by its own profile, and named as musicians name it."""

from __future__ import annotations

import numpy as np
import pytest

from stemsplit.analysis.key import MODES, PROFILES, Key, estimate_key


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("mode", MODES)
def test_a_profile_is_its_key(tonic: int, mode: str) -> None:
    found = estimate_key(np.roll(PROFILES[MODES.index(mode)], tonic))
    assert (found.tonic, found.mode) == (tonic, mode)
    assert found.confidence > 0.5


def test_where_all_is_alike_nothing_is_sure() -> None:
    assert estimate_key(np.zeros(12)).confidence == 0
    assert estimate_key(np.ones(12)).confidence == 0
    noisy = estimate_key(np.random.default_rng(1).random(12))
    assert 0 < noisy.confidence < 0.8


@pytest.mark.parametrize(
    ("key", "name", "tag"),
    [(Key(10, "minor"), "Bb minor", "Bbm"), (Key(6, "minor"), "F# minor", "F#m"), (Key(3, "major"), "Eb major", "Eb")],
)
def test_names(key: Key, name: str, tag: str) -> None:
    assert (key.name, key.tag) == (name, tag)
