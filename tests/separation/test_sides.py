"""A song whose voice is at one side or turned over is separated channel by channel; no other is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import FakeConfig
from torch import Tensor

from stemsplit.options import SeparateOptions
from stemsplit.separation.separator import make_separator, render
from stemsplit.separation.sides import TRIED, differing_pieces
from stemsplit.separation.source import open_source
from stemsplit.weights.model import Model

RATE = 8000
CONFIG = FakeConfig(stems=("other", "vocals"), sample_rate=RATE, chunk_samples=8000)


class Centred:
    """Hears a voice, whatever is above 1 kHz, only in what the channels share."""

    config = CONFIG

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, mixture: Tensor) -> Tensor:
        self.calls.append(mixture.shape[1])
        spectrum = torch.fft.rfft(mixture.mean(1) if mixture.shape[1] == 1 else torch.minimum(*_signless(mixture)))
        hertz = torch.fft.rfftfreq(mixture.shape[-1], 1 / RATE)
        voice = torch.fft.irfft(torch.where(hertz > 1000, spectrum, 0), mixture.shape[-1])[:, None]
        voice = voice.expand_as(mixture)
        return torch.stack([mixture - voice, voice], 1)


def _signless(mixture: Tensor) -> tuple[Tensor, Tensor]:
    """Two channels that are equal where a sound is in the middle; their minimum is 0 where one of them is."""
    high = torch.fft.rfft(mixture)
    high[..., : mixture.shape[-1] * 1000 // RATE] = 0
    left, right = torch.fft.irfft(high, mixture.shape[-1]).unbind(1)
    middle = torch.where((left * right) > 0, torch.sign(left) * torch.minimum(left.abs(), right.abs()), 0)
    return middle, middle


def song(left: float, right: float, seconds: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """A band in the middle below 1 kHz with a voice above, as (2, n) each: the mixture and the voice."""
    time = np.arange(int(seconds * RATE)) / RATE
    band = sum(0.1 * np.sin(2 * np.pi * hz * time) for hz in (110, 330, 550))
    voice = sum(0.1 * np.sin(2 * np.pi * hz * time) for hz in (1210, 1530, 2070))
    placed = np.stack([left * voice, right * voice]).astype(np.float32)
    return (band + placed).astype(np.float32), placed


def separated(mixture: np.ndarray) -> tuple[np.ndarray, list[int], list[str]]:
    """The vocals, the channels of each call, and the warnings."""
    network, said = Centred(), list[str]()
    separator = make_separator(Model("m", "0" * 64, network), SeparateOptions(stems="vocals"))
    source, _ = open_source(mixture, RATE)
    blocks = [block.outputs[0] for block in render(separator, source, RATE, on_warning=said.append)]
    return np.concatenate(blocks, axis=1), network.calls, said


def sdr(true: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(true).sum() / np.square(true - found).sum()))


@pytest.mark.parametrize("places", [(0, 1.4), (1.4, 0), (1, -1)])
def test_a_voice_at_one_side_or_turned_over_is_not_lost(places: tuple[float, float]) -> None:
    mixture, voice = song(*places)
    found, calls, said = separated(mixture)
    assert sdr(voice, found) > 15
    assert calls[-1] == 1
    assert any("each channel is separated by itself" in line for line in said)


@pytest.mark.parametrize("places", [(1, 1), (0.9, 1), (0, 0)])
def test_an_ordinary_song_costs_nothing_more(places: tuple[float, float]) -> None:
    mixture, _ = song(*places)
    _, calls, said = separated(mixture)
    assert set(calls) == {2}
    assert len(calls) == len(separated(mixture[:, : 9 * RATE])[1])
    assert not said


def test_wide_instruments_cost_a_few_calls_and_change_nothing() -> None:
    mixture, voice = song(1, 1)
    rng = np.random.default_rng(0)
    mixture = mixture + 0.1 * rng.standard_normal(mixture.shape).astype(np.float32)
    found, calls, said = separated(mixture)
    assert calls[-1] == 2
    assert sdr(voice, found) > 0
    assert not said


def test_only_the_most_different_loud_pieces_are_tried() -> None:
    mixture, _ = song(1, 1, 30.0)
    piece = 3 * RATE
    for at, gain in ((0, 0.7), (2, 0.3), (5, 0.5), (6, 0.1), (8, 0.2)):
        mixture[1, at * piece : (at + 1) * piece] *= gain
    mixture[:, 6 * piece : 7 * piece] *= 1e-3  # nearly silent
    pieces = differing_pieces(iter([mixture]), RATE)
    assert len(pieces) == TRIED
    for found, at in zip(pieces, (8, 2, 5), strict=True):
        np.testing.assert_array_equal(found, mixture[:, at * piece : (at + 1) * piece])
    broken = mixture.copy()
    broken[0, 0], broken[1, 5 * piece] = np.nan, np.inf
    assert len(differing_pieces(iter([broken[:, :7000], broken[:, 7000:]]), RATE)) == TRIED


@pytest.mark.parametrize(
    ("gains", "words"), [((1, 0), "right channel is silent"), ((0, 1), "left channel is silent"), ((1, -1), "polarity")]
)
@pytest.mark.parametrize("seconds", [1.0, 7.0])
def test_what_is_odd_about_the_channels_is_said(gains: tuple[float, float], words: str, seconds: float) -> None:
    mixture, _ = song(1, 1, seconds)
    _, calls, said = separated(mixture * np.array(gains, np.float32)[:, None])
    assert len(said) == 1
    assert words in said[0]
    assert set(calls) == {2}


@pytest.mark.parametrize("channels", [1, 6])
def test_other_counts_of_channels_have_no_sides(channels: int) -> None:
    mixture, _ = song(0, 1)
    _, _, said = separated(np.repeat(mixture[1:], channels, 0) * np.arange(1, channels + 1, dtype=np.float32)[:, None])
    assert not said
