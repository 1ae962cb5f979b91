"""The mix bus: one gain for all stems, a ceiling."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from songs.mix import bus

RATE = 44100


def loud_stems() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    swell = np.linspace(0.05, 1, 2 * RATE, dtype=np.float32)
    return {name: rng.standard_normal((2, 2 * RATE)).astype(np.float32) * 0.1 * swell for name in "abc"}


def test_the_bus_gives_every_stem_the_same_gain() -> None:
    stems = loud_stems()
    before = np.sum(list(stems.values()), axis=0, dtype=np.float64)
    for seed in range(6):
        out, settings = bus.master(np.random.default_rng(seed), stems)
        after = np.sum(list(out.values()), axis=0, dtype=np.float64)
        gain = out["a"][0] / stems["a"][0]
        np.testing.assert_allclose(after, before * gain, atol=1e-5)
        np.testing.assert_allclose(out["c"][1], stems["c"][1] * gain, atol=1e-5)
        assert np.abs(after).max() <= 0.98 + 1e-4
        assert max(np.abs(stem).max() for stem in out.values()) <= 0.99 + 1e-4
        assert set(settings) == {"ratio", "push_db"}
        assert gain[1000:10000].mean() > 1.1 * gain[-10000:].mean()  # what was quiet came up


def test_limiting_looks_ahead_and_lets_quiet_music_pass() -> None:
    mixture = np.full((2, RATE), 0.1, np.float32)
    mixture[:, RATE // 2] = 2.0
    gain = bus.limiting(mixture, 0.5)
    assert np.abs(mixture * gain).max() <= 0.5 + 1e-6
    assert gain[RATE // 2 - 100] < 0.9
    np.testing.assert_allclose(gain[: RATE // 4], 1.0)
    assert np.abs(np.diff(gain)).max() < 0.02


def test_compression_of_silence_is_finite() -> None:
    assert np.isfinite(bus.compression(np.zeros((2, 100), np.float32), 2.0, -10.0, 0.05)).all()
    out, _ = bus.master(np.random.default_rng(0), {"a": np.zeros((2, 1000), np.float32)})
    assert not out["a"].any()
