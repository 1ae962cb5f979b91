"""A whole song is separated as Demucs's own program does it: its level, its segments, its bags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data.htdemucs_song import EVERY, EVERY_OF_BAGS, LENGTHS, SONG_SAMPLES, WEIGHTS, song, weight

from stemsplit.errors import UsageError
from stemsplit.networks.htdemucs import HTDemucs, HTDemucsConfig
from stemsplit.options import SeparateOptions
from stemsplit.separation.separator import make_separator, render
from stemsplit.separation.source import open_source
from stemsplit.separation.stream import chunking_for, separate_array
from stemsplit.weights.model import Model

GOLDEN = Path(__file__).parents[1] / "data" / "htdemucs_song.npz"
TINY = HTDemucsConfig(channels_first=8, bottom_channels=16, transformer_layers=2, transformer_heads=4)


def network(seed: int, config: HTDemucsConfig = TINY) -> HTDemucs:
    built = HTDemucs(config).eval()
    built.load_state_dict({key: weight(key, tuple(value.shape), seed) for key, value in built.state_dict().items()})
    return built


def bag(name: str) -> HTDemucs:
    settings = {**TINY.as_json(), "chunk_samples": 11025}
    built = HTDemucs(HTDemucsConfig.from_dict({**settings, "bag": WEIGHTS[name]})).eval()
    alone = HTDemucsConfig.from_dict(settings)
    for seed, model in enumerate(built.models):
        model.load_state_dict(network(seed, alone).state_dict())
    return built


def golden(name: str) -> np.ndarray:
    with np.load(GOLDEN) as kept:
        found: np.ndarray = kept[name]
    return found


def test_a_song_has_the_same_stems() -> None:
    found = separate_array(network(0), song(SONG_SAMPLES))
    assert found.shape == (4, 2, SONG_SAMPLES)
    assert np.abs(golden("song")).max() > 0.05
    assert np.abs(found[..., ::EVERY] - golden("song")).max() < 1e-4


@pytest.mark.parametrize("length", LENGTHS)
def test_a_bag_gives_the_same_stems(length: str) -> None:
    found = separate_array(bag("bag"), song(LENGTHS[length]))
    assert np.abs(found[..., ::EVERY_OF_BAGS] - golden(length)).max() < 1e-4


def test_a_bag_may_have_any_weights() -> None:
    found = separate_array(bag("mixed"), song(LENGTHS["bag"]))
    assert np.abs(found[..., ::EVERY_OF_BAGS] - golden("mixed")).max() < 1e-4


def test_a_request_finds_the_level_before_it_separates() -> None:
    source, _ = open_source(song(LENGTHS["bag"]), 44100)
    separator = make_separator(Model("bag", "", bag("bag")), SeparateOptions(device="cpu"))
    blocks = [block.outputs for block in render(separator, source, 44100, on_warning=lambda text: None)]
    assert np.abs(np.concatenate(blocks, -1)[..., ::EVERY_OF_BAGS] - golden("bag")).max() < 1e-4


def test_a_louder_song_has_the_same_stems_only_louder() -> None:
    model, mixture = bag("mixed"), song(20_000)
    quiet, loud = separate_array(model, mixture), separate_array(model, 10 * mixture)
    np.testing.assert_allclose(loud, 10 * quiet, atol=1e-4)


def test_silence_gives_silence() -> None:
    assert not separate_array(bag("bag"), np.zeros((2, 20_000), np.float32)).any()


def test_longer_chunks_than_its_own_are_refused() -> None:
    with pytest.raises(UsageError, match=r"chunks of 8 s are too long for this model: 7\.8 s or less"):
        chunking_for(TINY, chunk_seconds=8)
    assert chunking_for(TINY, chunk_seconds=5).chunk_samples == 220500


@pytest.mark.parametrize("wrong", [((1.0,),), ((1.0, 1.0, 1.0, 0.0),), ((-1.0, 1.0, 1.0, 1.0),)])
def test_bags_that_cannot_work_are_refused(wrong: tuple) -> None:
    with pytest.raises(ValueError, match="bag"):
        HTDemucsConfig(bag=wrong)


def test_a_bag_survives_json() -> None:
    config = bag("bag").config
    assert HTDemucsConfig.from_dict(config.as_json()) == config
    assert isinstance(config.as_json()["bag"][0], list)


def test_networks_without_weight_rest() -> None:
    built = bag("bag")
    silent = HTDemucsConfig.from_dict({**built.config.as_json(), "bag": [[1.0] * 4, [0.0] * 4]})
    lazy = HTDemucs(silent).eval()
    lazy.models[0].load_state_dict(built.models[0].state_dict())
    lazy.models[1] = torch.nn.Identity()
    mixture = torch.from_numpy(song(4000))[None]
    with torch.inference_mode():
        assert torch.equal(lazy(mixture), built.models[0](mixture))
