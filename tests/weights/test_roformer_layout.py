"""RoFormer checkpoints as lucidrains' package and ZFTurbo's trainer write them, with the trainer's YAML."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_hub import FakeServer
from published_roformer import TEXT, TINY, published
from tiny import read_song, write_song

from stemsplit.cli import main
from stemsplit.errors import CheckpointError, HashError, UnknownModelError
from stemsplit.networks.roformer import BANDS_62, CONFIGS, RoFormer, RoFormerConfig
from stemsplit.weights.catalog import locate, models_dir
from stemsplit.weights.checkpoint import convert, load_network
from stemsplit.weights.layouts import roformer as layout
from stemsplit.weights.trainer_folder import settings_beside

COMMON: dict[str, Any] = {
    "stereo": True, "num_stems": 1, "time_transformer_depth": 1, "freq_transformer_depth": 1, "dim_head": 64,
    "heads": 8, "attn_dropout": 0.1, "ff_dropout": 0.1, "flash_attn": True, "dim_freqs_in": 1025, "stft_n_fft": 2048,
    "stft_hop_length": 441, "stft_win_length": 2048, "stft_normalized": False, "mask_estimator_depth": 2,
    "multi_stft_resolution_loss_weight": 1.0, "multi_stft_resolutions_window_sizes": [4096, 2048],
}  # fmt: skip
YAML: dict[str, Any] = {
    "audio": {"chunk_size": 352800, "sample_rate": 44100, "num_channels": 2},
    "model": {},
    "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals", "use_amp": True},
    "inference": {"batch_size": 4, "num_overlap": 2},
}
SPLIT = YAML | {"model": COMMON | {"dim": 512, "depth": 12, "freqs_per_bands": BANDS_62, "linear_transformer_depth": 0}}
MEL = YAML | {"model": COMMON | {"dim": 384, "depth": 6, "num_bands": 60, "sample_rate": 44100}}


def test_the_usual_yaml_is_read() -> None:
    assert layout.configured(SPLIT) == CONFIGS["bs-roformer"]
    assert layout.configured(MEL) == CONFIGS["mel-band-roformer"]


@pytest.mark.parametrize(
    ("count", "instruments", "target", "stems", "rest"),
    [
        (1, ["vocals", "bass", "drums", "other"], "vocals", ("vocals", "other"), "other"),
        (1, ["vocals", "other"], "other", ("other", "vocals"), "vocals"),
        (1, ["drums", "bass", "other"], "other", ("other", "rest"), "rest"),
        (1, ["karaoke"], None, ("karaoke", "other"), "other"),
        (4, ["drums", "bass", "other", "vocals"], None, ("drums", "bass", "other", "vocals"), None),
    ],
)
def test_stems(
    count: int, instruments: list[str], target: str | None, stems: tuple[str, ...], rest: str | None
) -> None:
    settings = deepcopy(MEL)
    settings["model"]["num_stems"] = count
    settings["training"] = {"instruments": instruments, "target_instrument": target}
    found = layout.configured(settings)
    assert (found.stems, found.rest) == (stems, rest)


def test_chunks_and_overlaps() -> None:
    settings = SPLIT | {"inference": {"num_overlap": 4, "chunk_size": 4096}}
    assert layout.configured(settings) == replace(CONFIGS["bs-roformer"], chunk_samples=4096, overlap=0.75)


@pytest.mark.parametrize(
    ("section", "wrong", "said"),
    [
        ("model", {"linear_transformer_depth": 1}, "model.linear_transformer_depth is 1; only 0 is known here"),
        ("model", {"stft_win_length": 1024}, "model.stft_win_length is 1024; only 2048"),
        ("model", {"skip_connection": True}, "model.skip_connection is True"),
        ("model", {"num_residual_streams": 4}, "model.num_residual_streams is not known here"),
        ("model", {"num_stems": 2}, "model.num_stems is 2, which does not fit training.instruments, vocals, other"),
        ("model", {"dim": "wide"}, "dim is wide, and not a whole number"),
        ("model", {"freqs_per_bands": [2, 2]}, "the bands hold 4 bins"),
        ("model", {"freqs_per_bands": "many"}, "model.freqs_per_bands is many"),
        ("training", {"instruments": None}, "training.instruments is None"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(section: str, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        layout.configured(SPLIT | {section: SPLIT[section] | wrong})


@pytest.mark.parametrize("settings", [{}, {"model": 3}, {"model": {"n_filters": 1}}])
def test_other_yaml_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="the YAML"):
        layout.configured(settings)


def test_the_rates_of_a_mel_network_agree() -> None:
    with pytest.raises(CheckpointError, match=r"model.sample_rate is 44100 and audio.sample_rate 48000"):
        layout.configured(MEL | {"audio": {"sample_rate": 48000}})


def test_a_state_dict_is_recognised_and_fits() -> None:
    state = published()
    assert layout.matches(state.keys())
    assert not layout.matches(["BN_mask.0.0.weight"])
    kept = layout.chosen(state | {"layers.0.0.layers.0.0.rotary_embed.cached_freqs": torch.zeros(3)}, raw=False)
    assert {key: tuple(value.shape) for key, value in kept.items()} == layout.shapes(TINY)
    assert layout.convert(kept, TINY).keys() == RoFormer(TINY).state_dict().keys()


def test_other_rotary_frequencies_are_refused() -> None:
    state = published()
    state["layers.0.1.layers.0.0.rotary_embed.freqs"] = torch.tensor([1.0, 0.02])
    with pytest.raises(CheckpointError, match=r"layers\.0\.1\.layers\.0\.0\.rotary_embed\.freqs differs"):
        layout.convert(state, TINY)


def test_a_checkpoint_alone_asks_for_its_config(tmp_path: Path) -> None:
    torch.save({"state_dict": published()}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"model\.ckpt.*YAML or a config is needed"):
        convert(tmp_path / "model.ckpt", tmp_path / "converted")


def test_a_described_checkpoint_separates_a_song(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    torch.save({"state_dict": published()}, model / "model.ckpt")
    described = {"format": 1, "architecture": "roformer", "network": TINY.as_json(), "weights": {"file": "model.ckpt"}}
    (model / "config.json").write_text(json.dumps(described))
    converted = convert(model, tmp_path / "converted")
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 10001)).astype(np.float32)
    song = write_song(tmp_path / "song.wav", samples, subtype="FLOAT")
    assert (
        main(["separate", str(song), "-m", str(converted), "-o", str(tmp_path / "out"), "-q", "--device", "cpu"]) == 0
    )
    stems = [read_song(tmp_path / "out" / "song" / f"{stem}.wav") for stem in TINY.stems]
    assert np.abs(stems[0]).max() > 0.01
    np.testing.assert_allclose(stems[0] + stems[1], read_song(song), atol=1e-6)


def test_the_yaml_beside_a_checkpoint_describes_it(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "model.ckpt")
    (tmp_path / "merged_config.yaml").write_text(TEXT)
    converted = load_network(convert(tmp_path / "model.ckpt", tmp_path / "converted"))
    assert isinstance(converted, RoFormer)
    assert converted.config == replace(TINY, band_layers=1)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["config_vocals_roformer.yaml"], "config_vocals_roformer.yaml"),
        (["model.yaml", "other.yaml"], "model.yaml"),
        (["config_model.yml", "config_other.yaml"], "config_model.yml"),
        (["a_model_b.yaml", "config_other.yaml"], "a_model_b.yaml"),
        (["config_model.yaml", "my_model.yaml"], "config_model.yaml"),
        (["one.yaml", "two.yaml"], None),
        (["merged_config.yaml", "model.yaml"], "merged_config.yaml"),
        ([], None),
    ],
)
def test_the_yaml_may_have_any_name(tmp_path: Path, names: list[str], chosen: str | None) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"")
    (tmp_path / "notes.yaml").write_text("model: a song, no settings\n")
    for name in names:
        (tmp_path / name).write_text(TEXT)
    found = settings_beside(tmp_path / "model.ckpt")
    assert (found and found.name) == chosen


def test_a_reference_may_name_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(published(), tmp_path / "model.ckpt")
    for name, text in {"one.yaml": TEXT, "two.yaml": TEXT.replace("4096", "8192")}.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.ckpt#config=FILE\.yaml"):
        load_network(locate(tmp_path / "model.ckpt"))
    beside = load_network(locate(f"{tmp_path / 'model.ckpt'}#config=two.yaml"))
    assert beside.config == replace(TINY, band_layers=1, chunk_samples=8192)
    monkeypatch.chdir(tmp_path)
    assert load_network(locate("model.ckpt#config=one.yaml")).config == replace(TINY, band_layers=1)
    with pytest.raises(UnknownModelError, match=r"there is no file three\.yaml, here or beside the checkpoint"):
        locate("model.ckpt#config=three.yaml")
    with pytest.raises(UnknownModelError, match=r"no file or folder no\.ckpt"):
        locate("no.ckpt#config=one.yaml")


def test_an_address_may_name_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    torch.save(published(), tmp_path / "model.ckpt")
    data = (tmp_path / "model.ckpt").read_bytes()
    with FakeServer() as server:
        url = server.add("/weights/model.ckpt", data)
        server.add("/settings/a.yaml", TEXT.encode())
        pin = hashlib.sha256(data).hexdigest()
        found = locate(f"{url}#sha256={pin}&config=../settings/a.yaml")
        assert load_network(found).config == replace(TINY, band_layers=1)
        assert locate(f"{url}#config=../settings/a.yaml", offline=True).settings == found.settings
        with pytest.raises(HashError):
            locate(f"{url}#sha256={'0' * 64}&config=../settings/a.yaml")


def test_the_published_settings_are_the_ones_of_the_catalog() -> None:
    for name, config in (("bs-roformer-viperx", "bs-roformer"), ("mel-band-roformer-kim", "mel-band-roformer")):
        told = json.loads((models_dir() / name / "config.json").read_text())["network"]
        assert RoFormerConfig.from_dict(told) == CONFIGS[config]
