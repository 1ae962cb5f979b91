"""What engineers put on a voice."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from songs.voices import vocal_chain

RATE = 44100


def bursts() -> np.ndarray:
    """Two phrases of noise, with a rest after each."""
    audio = np.zeros((2, 4 * RATE), np.float32)
    noise = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32) * 0.1
    audio[:, :RATE] = noise
    audio[:, 2 * RATE : 3 * RATE] = noise
    return audio


@pytest.mark.parametrize(
    "treatment", [*(t for t, _ in vocal_chain.TREATMENTS), *vocal_chain.CUTTING], ids=lambda t: t.__name__
)
def test_treatments_keep_length_and_silence(treatment: vocal_chain.Treatment) -> None:
    for seed in range(3):
        audio = bursts()
        out = treatment(np.random.default_rng(seed), audio, 0.5)
        assert out.shape == audio.shape
        assert np.isfinite(out).all()
        assert not np.allclose(out, audio, atol=1e-4)
        np.testing.assert_array_equal(audio, bursts())
        silent = treatment(np.random.default_rng(seed), np.zeros((2, RATE), np.float32), 0.5)
        assert not silent.any()


def test_throws_echo_the_ends_of_phrases_only() -> None:
    gate = vocal_chain.phrase_ends(bursts(), 0.25, 1.0, np.random.default_rng(0))
    assert gate[: int(0.6 * RATE)].max() < 1e-3
    assert gate[int(0.9 * RATE)] > 0.99
    assert gate[int(1.5 * RATE) : int(2.5 * RATE)].max() < 1e-3
    assert gate[int(2.9 * RATE)] > 0.99


def test_a_stutter_repeats_the_beginning_of_a_beat() -> None:
    ramp = np.tile(np.arange(4 * RATE, dtype=np.float32), (2, 1))
    out = vocal_chain.stutter(np.random.default_rng(2), ramp, 0.5)
    length = RATE // 2
    repeated = [first for first in range(0, 3 * RATE, length) if out[0, first + length - 200] < first + length - 200]
    assert 0 < len(repeated) < 6
    beat = out[0, repeated[0] : repeated[0] + length]
    assert beat.max() <= repeated[0] + length // 2


def test_a_gate_is_the_same_in_all_bars() -> None:
    steady = np.ones((2, 4 * RATE), np.float32)
    out = vocal_chain.gated(np.random.default_rng(0), steady, 0.25)  # a bar a second
    np.testing.assert_allclose(out[:, RATE : 2 * RATE], out[:, 2 * RATE : 3 * RATE], atol=1e-6)
    assert 0.3 < out.mean() < 0.95
    assert out.min() < 1e-3
