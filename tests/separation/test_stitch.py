"""Two speakers stay who they are, whatever order a network gives them in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

import stemsplit
from stemsplit.separation.chunks import Chunking
from stemsplit.separation.stitch import compare
from stemsplit.separation.stream import chunking_for, separate_array, separate_blocks

RATE = 1000
SPLIT_HZ = 80


@dataclass(frozen=True)
class Config:
    stems: tuple[str, ...] = ("speaker1", "speaker2")
    sample_rate: int = RATE
    channels: int = 1
    chunk_samples: int = 4 * RATE
    overlap: float = 0.25
    plain_chunks: bool = False
    centred_chunks: bool = False
    levelled: bool = False
    one_chunk_on_cpu: bool = False
    shortest_samples: int = 1
    thread_safe: bool = True
    aligned: bool = False


@dataclass
class Swapping:
    """Tells a low speaker from a high one, and gives them in a random order at every call."""

    config: Config = Config()
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))
    orders: list[bool] = field(default_factory=list)

    def __call__(self, mixture: Tensor) -> Tensor:
        low = lowpass(mixture)
        speakers = [low, mixture - low]
        self.orders.append(bool(self.rng.integers(2)))
        return torch.stack(speakers[::-1] if self.orders[-1] else speakers, 1)


def lowpass(x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(x)
    spectrum[..., int(SPLIT_HZ / RATE * 2 * (spectrum.shape[-1] - 1)) :] = 0
    return torch.fft.irfft(spectrum, x.shape[-1])


def talk(plan: str, seconds: float = 1.0, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The low and the high speaker (1, n): a letter of the plan is a second of l, h, b(oth) or a blank."""
    rng = np.random.default_rng(1)
    n = int(seconds * RATE)
    speakers = torch.from_numpy(rng.normal(0, 0.2, (2, 1, n * len(plan))))
    low = lowpass(speakers)
    found = np.stack([low[0].numpy(), (speakers[1] - low[1]).numpy()])
    says = np.array([[letter in "lb" for letter in plan], [letter in "hb" for letter in plan]])
    found = found * np.repeat(says, n, axis=1)[:, None]
    found[1] += noise * rng.normal(0, 1, found[1].shape)
    return found[0].astype(np.float32), found[1].astype(np.float32)


PLANS = {
    "both all the time": "b" * 40,
    "in turns": "llhhlhbbllhhhllbhlhl" * 2,
    "a silence of 10 s": "bbbbbb" + " " * 10 + "bbbbbb" + " " * 10 + "bbbbbb",
    "one before the silence, the other after it": "bbbbblllll" + " " * 10 + "hhhhh" + " " * 9 + "lllbb",
    "pauses of all lengths": "bb bb  ll   hh    bb     hh      ll       bb        l         h          lhb",
    "silence first": " " * 9 + "bbbbb   b   bb",
}


@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_speakers_are_not_swapped(plan: str, noise: float) -> None:
    low, high = talk(plan, noise=noise)
    network = Swapping()
    first, second = separate_array(network, low + high)
    assert len(set(network.orders)) == 2
    if network.orders[0]:
        first, second = second, first
    if np.square(first - low).sum() > np.square(first - high).sum():  # the first call may have been a silent one
        first, second = second, first
    for found, true in ((first, low), (second, high)):
        assert np.square(found - true).sum() < 0.05 * np.square(true).sum()


def test_without_an_overlap_bridges_tell_the_order() -> None:
    low, high = talk("bblhb" * 6)
    found = separate_array(Swapping(), low + high, chunking=Chunking(4 * RATE, 0.0))
    errors = [np.square(found[0] - true).sum() / np.square(true).sum() for true in (low, high)]
    assert min(errors) < 0.1


def test_where_memory_runs_out_smaller_chunks_are_stitched_too() -> None:
    class Crowded(Swapping):
        def __call__(self, mixture: Tensor) -> Tensor:
            if mixture.shape[-1] > 2 * RATE:
                raise MemoryError
            return super().__call__(mixture)

    low, high = talk("b" * 12)
    found = separate_array(Crowded(), low + high, on_warning=lambda text: None)
    errors = [np.square(found[0] - true).sum() / np.square(true).sum() for true in (low, high)]
    assert min(errors) < 0.1


def test_a_bridge_is_only_built_where_the_overlap_says_nothing() -> None:
    spoken, paused = Swapping(), Swapping()
    separate_array(spoken, sum(talk("b" * 38)))
    separate_array(paused, sum(talk("b" * 14 + " " * 10 + "b" * 14)))
    assert len(spoken.orders) == 13
    assert len(paused.orders) < 13  # silent chunks need no call


def test_a_short_file_is_one_call_and_silence_stays_silent() -> None:
    network = Swapping()
    assert separate_array(network, np.ones((1, 1), np.float32)).shape == (2, 1, 1)
    assert not separate_array(network, np.zeros((1, 20 * RATE), np.float32)).any()
    assert len(network.orders) == 1


def test_all_channels_are_heard_as_one() -> None:
    low, high = talk("b" * 9)
    mixture = low + high
    found = separate_array(Swapping(), np.concatenate([mixture, mixture, 0.5 * mixture]))
    assert found.shape == (2, 3, mixture.shape[1])
    np.testing.assert_array_equal(found[:, 0], found[:, 2])
    turned = separate_array(Swapping(), np.concatenate([mixture, -mixture]))
    assert np.square(turned.sum(0)[0] - mixture).mean() < 1e-3 * np.square(mixture).mean()


def test_memory_does_not_grow() -> None:
    """Twenty minutes of talk pass by, and nothing of it is kept."""
    network, chunking = Swapping(), chunking_for(Config())
    second = sum(talk("bblhb "))
    alive = 0

    def blocks() -> Iterator[np.ndarray]:
        for _ in range(200):
            yield second

    for block in separate_blocks(network, blocks(), channels=1, chunking=chunking):
        alive = max(alive, block.shape[-1])
    assert alive <= chunking.step_samples


def test_compare_says_how_sure_it_is() -> None:
    known = np.random.default_rng(0).normal(size=(3, 1, 500))
    found = compare(known, known[[2, 0, 1]])
    assert found.order == (1, 2, 0)
    assert found.lead > 0.5
    assert compare(known, np.zeros_like(known)).lead == 0
    assert compare(known[:2], np.stack([known[0], known[0]])).lead < 1e-9


def test_the_band_limit_and_the_one_channel_are_told() -> None:
    mixture = np.random.default_rng(0).normal(0, 0.1, (2, 3000)).astype(np.float32)
    found = stemsplit.separate(mixture, 2 * RATE, model=Swapping(), device="cpu")
    assert found.stems["speaker1"].shape == mixture.shape
    (note,) = found.warnings
    assert "nothing above 500 Hz" in note
    assert "the same in all 2" in note
    assert stemsplit.separate(mixture[:1], RATE, model=Swapping(), device="cpu").warnings == ()
