"""HTDemucs files as their authors publish them become models: .th, safetensors of the Hub, and bags of several."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from data.htdemucs_song import EVERY_OF_BAGS, LENGTHS, WEIGHTS, song
from fake_hub import FakeHub, FakeServer
from published_htdemucs import CONFIG, KWARGS, NAMES, SIX, save_bag, save_on_the_hub, save_th, state_of
from tiny import read_song, write_song

from stemsplit.cli import main
from stemsplit.errors import CheckpointError, HashError, UnknownModelError
from stemsplit.networks.htdemucs import HTDemucs, HTDemucsConfig
from stemsplit.separation.stream import separate_array
from stemsplit.weights import catalog
from stemsplit.weights.catalog import locate
from stemsplit.weights.checkpoint import convert, load_network
from stemsplit.weights.layouts import htdemucs as layout
from stemsplit.weights.trainer_folder import models_of_bag

GOLDEN = Path(__file__).parents[1] / "data" / "htdemucs_song.npz"
KLASS = "demucs.htdemucs.HTDemucs"


def made(**changed: Any) -> dict[str, Any]:
    return {"klass": KLASS, "args": [], "kwargs": {**KWARGS, **changed}}


def test_arguments_of_the_published_networks_are_ours() -> None:
    usual = {"channels": 48, "bottom_channels": 512, "t_layers": 5, "t_heads": 8, "segment": Fraction(39, 5)}
    assert layout.described([made(**usual)], {}) == HTDemucsConfig()
    six = layout.described([made(**{**usual, "sources": SIX, "segment": 7.8, "dconv_mode": 1})], {})
    assert six == HTDemucsConfig(stems=tuple(SIX), residual_decoder=False)


def test_a_file_is_converted_and_computes_the_same(tmp_path: Path) -> None:
    network = load_network(locate(save_th(tmp_path)))
    assert network.config == CONFIG
    assert all(torch.equal(value, state_of(0)[key].float()) for key, value in network.state_dict().items())
    assert network.state_dict()["encoder.0.conv.weight"].dtype == torch.float32


def test_both_formats_are_the_same_model(tmp_path: Path) -> None:
    one, other = load_network(locate(save_th(tmp_path))), load_network(locate(save_on_the_hub(tmp_path)))
    assert one.config == other.config
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize(("on_the_hub", "named"), [(False, ""), (True, "htdemucs_ft.yaml")])
def test_a_bag_is_one_model_of_four_networks(tmp_path: Path, on_the_hub: bool, named: str) -> None:
    network = load_network(locate(save_bag(tmp_path / "bag", on_the_hub=on_the_hub) / named))
    assert network.config == HTDemucsConfig.from_dict({**CONFIG.as_json(), "bag": WEIGHTS["bag"]})
    with np.load(GOLDEN) as golden:
        expected = golden["bag"]
    found = separate_array(network, song(LENGTHS["bag"]))[..., ::EVERY_OF_BAGS]
    assert np.abs(found - expected).max() < 2e-3  # the weights are in half precision
    assert np.abs(expected).max() > 0.1


def test_files_separate_songs(tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav", song(20_000), 44100, subtype="FLOAT")
    common = ["-o", str(tmp_path / "out"), "-q", "--bit-depth", "32f"]
    assert main(["models", "convert", str(save_th(tmp_path)), str(tmp_path / "model")]) == 0
    assert main(["separate", str(tmp_path / "song.wav"), "-m", str(tmp_path / "model"), *common]) == 0
    network = load_network(tmp_path / "model")
    expected = separate_array(network, song(20_000))
    assert np.abs(expected).max() > 0.05
    for stem, samples in zip(CONFIG.stems, expected, strict=True):
        found = read_song(tmp_path / "out" / "song" / f"{stem}.wav")
        np.testing.assert_allclose(found, samples, atol=1e-4)


def test_a_converted_bag_is_a_model_of_ours(tmp_path: Path) -> None:
    folder = convert(locate(save_bag(tmp_path / "bag")), tmp_path / "ours")
    config = json.loads((folder / "config.json").read_text())
    assert config["network"]["bag"] == WEIGHTS["bag"]
    assert config["parameters"] == 4 * sum(value.numel() for value in HTDemucs(CONFIG).parameters())
    assert isinstance(load_network(folder), HTDemucs)


# --- what is downloaded


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(online: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def shelf(online: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Path, FakeServer]]:
    """A catalog with one model, a bag whose four files have addresses of their own, and the server of these."""
    monkeypatch.setattr(catalog, "models_dir", lambda: tmp_path / "models")
    files = sorted(save_bag(tmp_path / "bag").glob("*.th"), key=lambda path: NAMES.index(path.name[:8]))
    config = HTDemucsConfig.from_dict({**CONFIG.as_json(), "bag": WEIGHTS["bag"]})
    with FakeServer() as running:
        url, *more = [running.add(f"/{path.name}", path.read_bytes()) for path in files]
        told = {"format": 1, "name": "ft", "architecture": "htdemucs", "network": config.as_json()}
        (tmp_path / "models" / "ft").mkdir(parents=True)
        text = json.dumps({**told, "weights": {"url": url, "more": more, "sha256": None}})
        (tmp_path / "models" / "ft" / "config.json").write_text(text)
        yield files[0], running


def test_a_repository_of_the_hub_is_a_bag(hub: FakeHub, tmp_path: Path) -> None:
    folder = save_bag(tmp_path / "bag", on_the_hub=True)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.add_model("adefossez/HTDemucs-ft", {"README.md": b"", **files})
    found = locate("hf:adefossez/HTDemucs-ft")
    assert [path.name for path in (found.weights, *found.more)] == [f"{name}.safetensors" for name in NAMES]
    assert load_network(found).config.bag == HTDemucsConfig.from_dict({"bag": WEIGHTS["bag"]}).bag
    assert locate("hf:adefossez/HTDemucs-ft", offline=True) == found


def test_a_name_of_the_catalog_may_be_several_files(shelf: tuple[Path, FakeServer]) -> None:
    assert catalog.card("ft").local == "to download"
    found = locate("ft")
    assert [path.name[:8] for path in (found.weights, *found.more)] == list(NAMES)
    assert catalog.card("ft").local == "cached"
    assert locate("ft", offline=True) == found
    network = load_network(found)
    models = [network.models[number].encoder[0].conv.weight for number in range(4)]
    assert all(torch.equal(value, state_of(seed)["encoder.0.conv.weight"].float()) for seed, value in enumerate(models))


def test_a_download_is_what_its_name_says(shelf: tuple[Path, FakeServer]) -> None:
    path, server = shelf
    server.add(f"/{path.name}", b"another file")
    with pytest.raises(HashError, match="as its name does not say: not kept"):
        locate("ft")
    assert not list((path.parent.parent / "cache").rglob(f"*{path.name}"))


# --- what is refused


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil",)


@pytest.mark.parametrize("place", ["args", "training_args", "state", "klass"])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="more than tensors, or is damaged"):
        load_network(locate(save_th(tmp_path, **{place: [Evil()] if place == "args" else Evil()})))
    assert not (tmp_path / "evil").exists()


class Sly(Fraction):
    def __reduce__(self) -> tuple[Any, ...]:
        return Fraction, ("1e999999999",)


def test_fractions_are_two_short_numbers(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged or no checkpoint"):
        load_network(locate(save_th(tmp_path, kwargs={"segment": Sly(1, 3)})))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kwargs": {"sources": None}}, "lack sources"),
        ({"kwargs": {"t_sparse_self_attn": True}}, "its t_sparse_self_attn is True; only False is known here"),
        ({"kwargs": {"growth": 3}}, "its growth is 3; only 2"),
        ({"kwargs": {"channels_time": 4}}, "its channels_time is 4"),
        ({"kwargs": {"norm_starts": 3}}, "norm_starts is 3"),
        ({"kwargs": {"segment": "long"}}, "the segment is long, and no length"),
        ({"kwargs": {"dconv_mode": 7}}, "dconv_mode is 7"),
        ({"kwargs": {"channels": "8"}}, "describe no network: channels_first must be a whole number"),
        ({"kwargs": {"t_layers": 3}}, r"32 missing \(crosstransformer\.layers\.2\."),
        ({"kwargs": {"bottom_channels": 0}}, "unknown"),
        ({"kwargs": {"sources": SIX}}, "misshapen"),
        ({"args": ("a", "b")}, "its args are 2; only sources"),
        ({"args": {1: 2}}, "its args are more than plain values"),
    ],
)
def test_what_is_not_known_is_named(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_network(locate(save_th(tmp_path, **content)))


def test_an_older_network_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"of the class demucs\.hdemucs\.HDemucs; of Demucs' networks only"):
        layout.described([{**made(), "klass": "demucs.hdemucs.HDemucs"}], {})


def test_another_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_network(locate(save_th(tmp_path, made="WDemucs")))


def test_quantized_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="quantized weights, which are not known here"):
        load_network(locate(save_th(tmp_path, state={"__quantized": True, "meta": {}})))


def test_a_state_dict_alone_tells_too_little(tmp_path: Path) -> None:
    torch.save({"state": state_of(0)}, tmp_path / "a.th")
    with pytest.raises(CheckpointError, match="klass, args and kwargs are missing"):
        load_network(locate(tmp_path / "a.th"))


@pytest.mark.parametrize("metadata", [{"args": "["}, {"kwargs": '{"segment": {"_type": "fraction"}}'}])
def test_metadata_that_tell_nothing(tmp_path: Path, metadata: dict[str, str]) -> None:
    with pytest.raises(CheckpointError, match="does not say how its network was made"):
        load_network(locate(save_on_the_hub(tmp_path, **metadata)))


def test_a_file_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    path = save_th(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(HashError, match="as its name does not say: damaged or changed"):
        locate(path)


def test_networks_that_are_missing_are_named(tmp_path: Path) -> None:
    folder = save_bag(tmp_path)
    for name in NAMES[1:3]:
        next(folder.glob(f"{name}-*.th")).unlink()
    with pytest.raises(CheckpointError, match=r"4 networks, and d12395a8, 92cfc3b6 is not beside it"):
        locate(folder)


def test_several_bags_in_a_folder_are_named(tmp_path: Path) -> None:
    folder = save_bag(tmp_path)
    (folder / "htdemucs.yaml").write_text(f"models: ['{NAMES[0]}']\n")
    with pytest.raises(UnknownModelError, match=r"2 bags \(htdemucs\.yaml, htdemucs_ft\.yaml\): name one"):
        locate(folder)
    assert load_network(locate(folder / "htdemucs.yaml")).config == CONFIG


@pytest.mark.parametrize("text", ["models: 3\n", "models: []\n", "models: ['../a']\n", "models: [[1]]\n"])
def test_a_bag_of_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CheckpointError, match="no list of names"):
        models_of_bag(tmp_path / "a.yaml")


def test_bags_and_their_rows() -> None:
    two = [made(), made()]
    assert layout.described(two, {}).bag == ((1.0,) * 4, (1.0,) * 4)
    assert layout.described([made()], {"weights": [[1.0] * 4], "segment": 0.1}) == replace(CONFIG, chunk_samples=4410)
    assert layout.described([made()], {"segment": 9}) == CONFIG
    for rows in ([[1.0] * 4], [[1.0] * 4, [1.0]], [[1.0] * 4, 3], 7):
        with pytest.raises(CheckpointError, match="bag"):
            layout.described(two, {"weights": rows})
    with pytest.raises(CheckpointError, match=re.escape("the networks of the bag differ: stems of number 2")):
        layout.described([made(), made(sources=["a", "b", "c", "d"])], {})
