"""A song with a silent or a turned channel is separated as well as the song itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stemsplit.separation.chunks import Chunk
from stemsplit.separation.placement import channel_gains, to_mono
from stemsplit.separation.stream import _estimate


def noise(seed: int = 0) -> np.ndarray:
    """Two alike channels, (2, 500)."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((1, 500)) + 0.3 * rng.standard_normal((2, 500))).astype(np.float32)


def infer_placed(infer: Callable[[np.ndarray], np.ndarray], mixtures: np.ndarray) -> np.ndarray:
    """Estimate mixtures (B, C, S) as a stream does."""
    return _estimate(
        infer, [list(range(mixtures.shape[1]))], [Chunk(mixture, 0, 0, mixture.shape[1]) for mixture in mixtures]
    )


def middle_and_side(mixtures: np.ndarray) -> np.ndarray:
    """A network that finds its first stem in what the channels share, and nothing in a channel alone."""
    assert mixtures.any(axis=2).all()
    middle = np.repeat(mixtures.mean(1, keepdims=True), mixtures.shape[1], 1)
    return np.stack([middle, mixtures - middle], 1)


@pytest.mark.parametrize(
    ("gains", "same"), [((1, 1), (1, 1)), ((1, -1), (1, -1)), ((1, 0), (1, 0)), ((0, 1), (0, 1)), ((1, 1e-5), (1, 0))]
)
def test_what_is_done_to_the_mixture_is_undone_in_its_stems(gains: tuple[float, ...], same: tuple[float, ...]) -> None:
    song = noise()
    placed = song * np.array(gains, np.float32)[:, None]
    assert channel_gains(placed).tolist() == list(same)
    stems = infer_placed(middle_and_side, placed[None])[0]
    expected = middle_and_side(song[None])[0] if 0 not in same else middle_and_side(song[None, [same.index(1)] * 2])[0]
    np.testing.assert_allclose(stems, expected * np.array(same)[None, :, None], atol=1e-6)


def test_chunks_of_a_batch_are_decided_on_one_by_one() -> None:
    song = noise()
    mixtures = np.stack([song, song * np.array([[1], [-1]]), song * np.array([[0], [1]]), 0 * song]).astype(np.float32)
    together = infer_placed(lambda x: np.stack([x, x], 1), mixtures)
    for k, mixture in enumerate(mixtures):
        alone = infer_placed(lambda x: np.stack([x, x], 1), mixture[None])[0]
        np.testing.assert_array_equal(together[k], alone)
        np.testing.assert_array_equal(alone[0], mixture)


def test_ordinary_mixtures_go_to_the_network_as_they_are() -> None:
    seen = []

    def look(mixtures: np.ndarray) -> np.ndarray:
        seen.append(mixtures)
        return mixtures[:, None]

    for channels in (1, 2):
        mixture = noise()[None, :channels]
        assert infer_placed(look, mixture).shape == (1, 1, channels, 500)
        np.testing.assert_array_equal(seen[-1], mixture)
    wide = np.random.default_rng(0).standard_normal((2, 500)).astype(np.float32)  # channels with nothing in common
    assert channel_gains(wide).tolist() == [1, 1]


def test_a_voice_in_opposite_phase_is_not_averaged_to_nothing() -> None:
    voice = np.random.default_rng(0).standard_normal((1, 500)).astype(np.float32)
    turned, straight = np.concatenate([voice, -voice]), np.concatenate([voice, voice])
    unclear = np.concatenate([voice, np.random.default_rng(1).standard_normal((1, 500)).astype(np.float32)])
    blocks = [unclear, straight, unclear, turned, unclear, straight]
    signs = [1, 1, 1, -1, -1, 1]
    for block, sign, mono in zip(blocks, signs, to_mono(blocks), strict=True):
        np.testing.assert_allclose(mono, (block[:1] + sign * block[1:]) / 2, atol=1e-6)
    assert [mono.shape for mono in to_mono([voice, np.zeros((6, 7)), np.zeros((2, 0))])] == [(1, 500), (1, 7), (1, 0)]
