"""Drum sounds of machines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from songs.instruments import drums, machine_drums


@pytest.mark.parametrize("key", sorted(drums.CLASS_OF_KEY))
def test_machines_sound_for_every_key_and_end(key: int) -> None:
    rng = np.random.default_rng(key)
    loud, soft, name = machine_drums.machine_voice(rng, key, drums.OneShots({})) or pytest.fail("no sound")
    assert name == Path(f"machine-{drums.CLASS_OF_KEY[key]}")
    assert loud.ndim == 1
    assert soft.shape == loud.shape
    assert 0.05 < np.abs(loud).max() < 2
    assert np.isfinite(loud).all()
    assert np.abs(loud[-100:]).max() < 0.12 * np.abs(loud).max()


def test_unknown_keys_have_no_machine() -> None:
    assert machine_drums.machine_voice(np.random.default_rng(0), 1, drums.OneShots({})) is None
