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


@pytest.mark.parametrize("treatment", [t for t, _ in vocal_chain.TREATMENTS], ids=lambda t: t.__name__)
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
