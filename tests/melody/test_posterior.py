"""A stream of a voice gives the posteriors of the whole voice, whatever its blocks and chunks, in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_melody import TINY_MELODY, FakeMelodyConfig, FakeMelodyNetwork, voice
from torch import Tensor, nn

from stemsplit.errors import DecodeError, ModelError, OutOfMemoryError
from stemsplit.melody.posterior import grid_of, posteriors
from stemsplit.networks.contract import MelodyNetwork
from stemsplit.networks.melody_cnn import MelodyCNN

SMALL = FakeMelodyConfig(bins=12, bin_cents=100.0, context_frames=5)


class SmallNet(nn.Module):
    """Convolutions over samples and frames: every frame sees five on either side, and zeros beyond the ends."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SMALL
        self.spectrum = nn.Conv1d(1, 8, 320, stride=160, padding=160)
        self.over_time = nn.Conv1d(8, 13, 9, padding=4)

    def forward(self, waveform: Tensor) -> Tensor:
        frames = self.spectrum(waveform[:, None])[..., : 1 + waveform.shape[1] // 160]
        return self.over_time(frames.abs().log1p() * 10).transpose(1, 2)


@pytest.fixture(scope="module")
def small() -> SmallNet:
    torch.manual_seed(1)
    return SmallNet().eval()


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)


def whole(network: MelodyNetwork, samples: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(samples)[None])[0].softmax(-1).numpy()


def streamed(network: MelodyNetwork, blocks: list[np.ndarray], **how: Any) -> np.ndarray:
    return np.concatenate(list(posteriors(network, blocks, **how)))


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 1599, 1600, 3200, 4801, 16000, 33333])
@pytest.mark.parametrize("chunk_seconds", [0.001, 0.05, 0.33, 10.0])
def test_chunks_give_what_the_whole_gives(small: SmallNet, samples: int, chunk_seconds: float) -> None:
    sound = noise(samples)
    rows = streamed(small, [sound], chunk_seconds=chunk_seconds)
    assert rows.shape == (1 + samples // 160, 13)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, whole(small, sound), atol=1e-6)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 160, 999, 5000])
def test_blocks_may_be_of_any_size(small: SmallNet, size: int) -> None:
    sound = noise(8000)
    blocks = [sound[start : start + size] for start in range(0, 8000, size)]
    blocks.insert(1, sound[:0])
    rows = streamed(small, blocks, chunk_seconds=0.1)
    np.testing.assert_allclose(rows, whole(small, sound), atol=1e-6)


def test_the_real_network_sees_as_far_as_it_says() -> None:
    torch.manual_seed(0)
    network = MelodyCNN(TINY_MELODY).eval()
    sound = noise(40000)
    np.testing.assert_allclose(streamed(network, [sound], chunk_seconds=0.5), whole(network, sound), atol=1e-5)


def test_a_network_without_context_still_hears_silence_across_a_border() -> None:
    network = _EveryFrameAlone(replace(SMALL, context_frames=0))
    sound = np.zeros(3200, np.float32)
    sound[1000:2000] = 0.1
    rows = [streamed(network, [sound], chunk_seconds=s) for s in (0.01, 0.03, 1.0)]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


class _EveryFrameAlone(FakeMelodyNetwork):
    def __call__(self, waveform: Tensor) -> Tensor:
        return torch.zeros(1, 1 + waveform.shape[1] // self.config.hop_samples, 1 + self.config.bins)


# --- silence


@pytest.mark.parametrize("level", [0.0, 1e-7])
def test_nothing_is_sung_in_silence_whatever_the_network_says(level: float) -> None:
    class Sure(FakeMelodyNetwork):
        def __call__(self, waveform: Tensor) -> Tensor:
            rows = torch.zeros(1, 1 + waveform.shape[1] // 160, 1 + self.config.bins)
            rows[..., 0], rows[..., 7] = -200.0, 200.0  # every other probability is 0 in float32
            return rows

    rows = streamed(Sure(SMALL), [np.full(1600, level, np.float32)])
    assert (rows[:, 0] > 0.99999).all()
    assert (rows[:, 1:].argmax(1) == 6).all()
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)


def test_silence_ends_where_the_sound_begins(small: SmallNet) -> None:
    sound = np.concatenate([np.zeros(4800, np.float32), noise(3200), np.zeros(4800, np.float32)])
    rows, expected = streamed(small, [sound], chunk_seconds=0.07), whole(small, sound)
    silent = rows[:, 0] > 0.99999
    assert list(np.flatnonzero(~silent)) == list(range(30, 51))
    np.testing.assert_allclose(rows[~silent], expected[~silent], atol=1e-6)


# --- what is refused


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_voice_that_is_no_number_is_refused(small: SmallNet, bad: float) -> None:
    sound = noise(40000)
    sound[24000] = bad
    blocks = [sound[:16000], sound[16000:]]
    with pytest.raises(DecodeError, match=r"NaN or infinity at 1\.50 s"):
        streamed(small, blocks, chunk_seconds=0.1)


def test_no_samples_are_a_silent_frame(small: SmallNet) -> None:
    for blocks in ([], [np.zeros(0, np.float32)]):
        rows = streamed(small, blocks)
        assert rows.shape == (1, 13)
        assert rows[0, 0] > 0.99999


def _returning(rows: Callable[[Tensor], Tensor]) -> FakeMelodyNetwork:
    class Broken(FakeMelodyNetwork):
        def __call__(self, waveform: Tensor) -> Tensor:
            return rows(waveform)

    return Broken(SMALL)


def test_a_broken_network_is_refused() -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        streamed(_returning(lambda waveform: torch.full((1, 11, 13), torch.nan)), [noise(1600)])
    with pytest.raises(ModelError, match=r"returned \(1, 10, 13\), its config promises \(1, 11, 13\)"):
        streamed(_returning(lambda waveform: torch.zeros(1, 10, 13)), [noise(1600)])


def test_out_of_memory_is_told() -> None:
    def fail(waveform: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(OutOfMemoryError, match="on the CPU"):
        streamed(_returning(fail), [noise(1600)])

    def fail_elsewhere(waveform: Tensor) -> Tensor:
        if waveform.device.type == "meta":
            raise RuntimeError("CUDA out of memory")
        return torch.zeros(1, 1 + waveform.shape[1] // 160, 13)

    told: list[str] = []
    network = _returning(fail_elsewhere)
    rows = streamed(network, [noise(4800)], device="meta", chunk_seconds=0.1, on_warning=told.append)
    assert rows.shape == (31, 13)
    assert told == ["out of memory on meta: the melody network goes on with the CPU"]


def test_a_bug_of_the_network_stays_one() -> None:
    def fail(waveform: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 do not fit")

    with pytest.raises(RuntimeError, match="do not fit"):
        streamed(_returning(fail), [noise(1600)])


# --- hours


def test_hours_fit_into_little_memory() -> None:
    network = _EveryFrameAlone(replace(SMALL, sample_rate=800, hop_samples=8))  # a low rate keeps the test quick
    minute = noise(800 * 60)

    def ten_hours() -> Iterator[np.ndarray]:
        for _ in range(600):
            yield minute

    tracemalloc.start()
    frames = sum(len(block) for block in posteriors(network, ten_hours(), chunk_seconds=60))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames == 1 + 36000 * 100
    assert peak < 8 << 20  # all samples would be 110 MiB, all rows 180


def test_the_grid_is_the_config_s() -> None:
    grid = grid_of(FakeMelodyConfig())
    assert (grid.lowest_hz, grid.cents, grid.bins) == (65.0, 20.0, 267)


def test_the_fake_of_other_tests_hears_pitches() -> None:
    network = FakeMelodyNetwork()
    rows = streamed(network, [voice(1.0, 220.0)])
    hz = grid_of(network.config).hz()[rows[10:-10, 1:].argmax(1)]
    assert np.abs(1200 * np.log2(hz / 220)).max() < 60
    assert (rows[:, 0] < 0.1).all()
