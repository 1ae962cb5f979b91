"""The table of architectures, and what it takes to add one: a file, a row, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import read_song, write_song
from toy_separator import ToyConfig, ToySeparator

import stemsplit
from stemsplit.cli import main
from stemsplit.errors import UsageError
from stemsplit.networks.contract import Config
from stemsplit.networks.registry import ARCHITECTURES, Architecture, architecture_of
from stemsplit.training.loop import run_recipe
from stemsplit.training.recipe import load_recipe
from stemsplit.weights.checkpoint import convert, load_network, save
from stemsplit.weights.model import load_model
from stemsplit.weights.publish import publish

ROW = Architecture(
    "toy", "separate", "toy_separator:ToyConfig", "toy_separator:ToySeparator", layouts=("toy_separator",)
)


@pytest.fixture(autouse=True)
def _added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "toy", ROW)
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A public checkpoint of the toy, converted."""
    public = tmp_path / "public.ckpt"
    torch.save({"state_dict": {"toy.gain.0": torch.tensor(0.25), "toy.gain.1": torch.tensor(0.5)}}, public)
    return convert(public, tmp_path / "model")


def test_it_is_converted_and_loaded(model: Path) -> None:
    described = json.loads((model / "config.json").read_text())
    assert (described["architecture"], described["parameters"]) == ("toy", 2)
    network = load_network(model)
    assert isinstance(network, ToySeparator)
    assert network.config == ToyConfig()
    assert network.gains.tolist() == [0.25, 0.5]


def test_it_separates_from_python_and_from_the_shell(model: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3001)).astype(np.float32)
    found = stemsplit.separate(samples, 2000, model=model, device="cpu")
    np.testing.assert_allclose(found.stems["low"], samples / 4, atol=1e-6)
    song = write_song(tmp_path / "song.wav", samples, 2000, subtype="FLOAT")
    assert main(["separate", str(song), "-m", str(model), "-o", str(tmp_path / "out"), "-q"]) == 0
    np.testing.assert_allclose(read_song(tmp_path / "out" / "song" / "high.wav"), samples / 2, atol=1e-6)
    with pytest.raises(UsageError, match="is a separator"):
        load_model(model, "melody")


def test_it_is_trained_from_a_recipe(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(2):
        folder = tmp_path / "songs" / str(number)
        folder.mkdir(parents=True)
        np.save(folder / "low.npy", rng.integers(-900, 900, (4000, 2)).astype(np.int16))
        np.save(folder / "high.npy", rng.integers(-90, 90, (4000, 2)).astype(np.int16))
    recipe = tmp_path / "toy.toml"
    recipe.write_text(
        f'name = "toy"\narchitecture = "toy"\nsongs = "{tmp_path.as_posix()}/songs"\n'
        f'output = "{tmp_path.as_posix()}/run"\ndev_songs = 1\n[mixing]\ncrop_seconds = 0.5\nin_song = 1.0\n'
        "[schedule]\nsteps = 60\nbatch_size = 2\nlearning_rate = 0.05\nwarmup_steps = 1\ndecay_steps = 1\nema = 0.5\n"
    )
    left = run_recipe(load_recipe(recipe))
    low, high = load_network(left).gains.tolist()
    assert low > 0.8 > 0.2 > high


def test_a_recipe_names_an_architecture_of_its_kind(tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text('name = "x"\narchitecture = "melody-cnn"\nsongs = "."\noutput = "."\n')
    with pytest.raises(UsageError, match=r"architecture is ts-bsmamba2 or .*toy, not melody-cnn"):
        load_recipe(recipe)


def test_it_is_published(model: Path) -> None:
    done = publish(model, "me/toy", dry_run=True)
    assert done.reference == "hf:me/toy"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_row_leads_to_classes_that_keep_the_contract(name: str, tmp_path: Path) -> None:
    row = ARCHITECTURES[name]
    assert issubclass(row.config, Config)
    config = row.config()
    assert row.config.from_dict(json.loads(json.dumps(config.as_json()))) == config
    with torch.device("meta"):
        assert architecture_of(row.network(config)) == row
    promised = {"separate": ("stems", "channels", "chunk_samples", "shortest_samples", "thread_safe", "aligned")}
    for attribute in ("sample_rate", *promised.get(row.task, ("hop_samples", "context_frames"))):
        assert getattr(config, attribute) is not None


def test_a_network_without_a_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no architecture is built as"):
        save(torch.nn.Linear(2, 2), tmp_path / "model")
