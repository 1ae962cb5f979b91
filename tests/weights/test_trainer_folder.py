"""Folders of a trainer, and lone checkpoints of SFC and BSMamba2: strict, averaged, and never run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import published_sfc as public
import pytest
import torch
import yaml
from torch import Tensor

from stemsplit.cli import main
from stemsplit.errors import CheckpointError, UnknownModelError
from stemsplit.networks.bsmamba2 import BSMamba2, BSMamba2Config
from stemsplit.networks.sfc import CONFIGS, SFC
from stemsplit.weights.catalog import locate
from stemsplit.weights.checkpoint import convert, load_network
from stemsplit.weights.layouts import bsmamba2, sfc
from stemsplit.weights.trainer_folder import read_settings

KINDS = {
    "split": replace(public.TINY, codec="split", inner=64, codec_heads=4),
    "attention": public.TINY,
    "adaptive": replace(public.TINY, adaptive=True),
    "mamba": replace(public.TINY, codec="mamba", adaptive=True, codec_heads=4),
    "dnr": replace(public.TINY, stems=("speech", "music", "effects"), channels=1),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def expected(config: Any, *seeds: int) -> dict[str, Tensor]:
    states = [sfc.convert(public.weights(config, seed), config) for seed in seeds]
    return {key: torch.stack([state[key] for state in states]).mean(0) for key in states[0]}


def holds(network: torch.nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.allclose(value, state[key], atol=1e-6) for key, value in network.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_the_mean_of_its_averaged_weights(kind: str, tmp_path: Path) -> None:
    config = KINDS[kind]
    folder = written(tmp_path / "run", public.folder_of(config))
    found = locate(folder)
    assert (found.path, found.settings) == (folder, folder / "merged_config.yaml")
    assert [path.name for path in (found.weights, *found.more)] == ["epoch=1.ckpt", "epoch=2.pth"]
    network = load_network(folder)
    assert isinstance(network, SFC)
    assert network.config == config
    assert holds(network, expected(config, 1, 3))
    assert network(torch.randn(1, config.channels, 300)).shape == (1, len(config.stems), config.channels, 300)


def test_it_is_converted_once_and_again_when_something_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "run", public.folder_of(public.TINY))
    load_network(folder)
    with monkeypatch.context() as patch:
        patch.setattr(sfc, "convert", lambda *args: pytest.fail("converted again"))
        load_network(folder)
    (folder / "checkpoints" / "epoch=2.pth").unlink()
    assert holds(load_network(folder), expected(public.TINY, 1))
    renamed = replace(public.TINY, stems=("drums", "bass", "vocals", "other"))
    (folder / "merged_config.yaml").write_bytes(public.settings_file(renamed))
    assert load_network(folder).config.stems[0] == "drums"


def test_raw_weights_come_on_request(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", public.folder_of(public.TINY))
    assert main(["models", "convert", str(folder), str(tmp_path / "raw"), "--raw", "-q"]) == 0
    assert holds(load_network(tmp_path / "raw"), expected(public.TINY, 2))
    about = json.loads((tmp_path / "raw" / "config.json").read_text())
    assert about["architecture"] == "sfc"
    flat = {key: value for key, value in public.checkpoint(public.TINY).items() if not key.startswith("model.")}
    (folder / "checkpoints" / "epoch=2.pth").write_bytes(public.as_bytes(flat))
    with pytest.raises(CheckpointError, match="averaged weights only"):
        convert(folder, tmp_path / "other", raw=True)


def test_one_of_the_checkpoints_can_be_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", public.folder_of(public.TINY))
    network = load_network(folder / "checkpoints" / "epoch=2.pth")
    assert network.config == public.TINY
    assert holds(network, expected(public.TINY, 3))


@pytest.mark.parametrize("name", ["sfc-ca-small", "sfc-mamba-small", "sfc-ca-medium-dnr"])
def test_published_shapes_need_no_settings(name: str) -> None:
    config = replace(CONFIGS[name], blocks=1)
    state = {key: torch.zeros(()).expand(shape) for key, shape in sfc.shapes(config).items()}
    assert sfc.matches([f"ema_model.module.model.{key}" for key in state])
    assert sfc.config(state) == config


def test_other_shapes_need_them(tmp_path: Path) -> None:
    files = public.folder_of(public.TINY)
    del files["merged_config.yaml"]
    with pytest.raises(CheckpointError, match=r"no published SFC network; merged_config\.yaml is needed"):
        load_network(written(tmp_path / "run", files))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("ema_model.module.model.encoder.query"), r"1 missing \(encoder\.query\)"),
        (lambda s: s.update({"ema_model.module.model.blocks.9.x": torch.ones(1)}), r"1 unknown \(blocks\.9\.x\)"),
        (lambda s: s.update({"loss.weight": torch.ones(1)}), r"1 unknown \(loss\.weight\)"),
        (lambda s: s.update({"ema_model.module.model.encoder.query": torch.ones(3)}), r"encoder\.query \(3,\)"),
    ],
)
def test_keys_that_do_not_fit_are_named(
    change: Callable[[dict[str, Tensor]], Any], message: str, tmp_path: Path
) -> None:
    state = public.checkpoint(public.TINY)
    change(state)
    files = public.folder_of(public.TINY) | {"checkpoints/epoch=2.pth": public.as_bytes(state)}
    with pytest.raises(CheckpointError, match=message):
        load_network(written(tmp_path / "run", files))


def test_a_slope_is_multiplied_in() -> None:
    state = public.weights(public.TINY, 1)
    key = "encoder.block.mixer.pos_bias"
    state[f"{key}.slope"] = torch.tensor([2.0, 0.5]).view(2, 1, 1)
    torch.testing.assert_close(sfc.convert(state, public.TINY)[key][0, 0], 2 * state[f"{key}.pos_bias"][0, 0])


def test_other_bands_are_refused() -> None:
    config = KINDS["split"]
    state = public.weights(config, 1)
    state["decoder.freq_weights/0"] = state["decoder.freq_weights/0"] / 2
    with pytest.raises(CheckpointError, match="not the musical ones"):
        sfc.convert(state, config)


def changed(place: str, value: Any) -> dict[str, Any]:
    found = public.settings(public.TINY)
    *way, last = place.split(".")
    inside = found
    for name in way:
        inside = inside[name]
    if value is None:
        del inside[last]
    else:
        inside[last] = value
    return found


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("task.model.model.n_layers", None, r"lacks task\.model\.model\.n_layers"),
        ("task.model.model.n_layers", "many", "n_layers is no number"),
        ("task.model.model.n_layers", 1.5, "n_layers is 1.5, no count"),
        ("task.model.scaling", False, "scaling is False; only True"),
        ("task.model.model.tf_order", "tf", "tf_order is tf; only ft"),
        ("task.model.model.ffn_hidden_dim", [6, 8], "ffn_hidden_dim"),
        ("task.model.model.encoder.mask_outside_bands", True, "mask_outside_bands is True"),
        ("task.model.model.encoder._target_", "x.FourierEncoder", "codec of x.FourierEncoder"),
        ("task.model.model.decoder._target_", "x.MambaDecoder", "codec of .*MambaDecoder is not known"),
        ("task.model.model.n_heads", 3, "3 heads or groups"),
        ("datamodule.train_dataset_path", ["/a/train_bass"], "does not name the 4 stems"),
        ("datamodule.train_dataset_path", ["a", "b", "c", "d"], "does not name the 4 stems"),
    ],
)
def test_settings_that_are_not_ours_are_named(place: str, value: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        sfc.configured(changed(place, value))


def test_stems_may_be_listed_by_name() -> None:
    paths = {"a": "/data/dnr/tr_speech", "b": "/data/dnr/tr_music", "c": "/data/dnr/tr_sfx"}
    settings = changed("datamodule.train_dataset_path", paths)
    settings["task"]["model"]["model"]["n_src"] = 3
    assert sfc.configured(settings).stems == ("speech", "music", "effects")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("- 1", "holds no settings"),
        ("a: [", "cannot be read"),
        ("\x00", "cannot be read"),
        ("a: " + "x" * (1 << 20), "more than 1 MB"),
    ],
)
def test_yaml_is_read_safely(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "merged_config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_settings(tmp_path / "merged_config.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_without_checkpoints_says_so(tmp_path: Path) -> None:
    files = {"merged_config.yaml": public.settings_file(public.TINY), "checkpoints/last.ckpt": b""}
    with pytest.raises(UnknownModelError, match=r"but no checkpoint in .*checkpoints"):
        locate(written(tmp_path / "run", files))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    files = public.folder_of(public.TINY) | {"checkpoints/a.ckpt": public.as_bytes({"state_dict": Payload()})}
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_network(written(tmp_path / "run", files))
    assert not marker.exists()


SMALL = BSMamba2Config(bands=(2, 3, 10, 50), n_fft=128, dim=8, layers=1, d_state=4, expand=2, headdim=4, hidden=12)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_bsmamba2_is_told_by_its_keys(prefix: str, wrapper: str | None, tmp_path: Path) -> None:
    state = {key: torch.randn(shape) for key, shape in bsmamba2.shapes(SMALL).items()}
    content: Any = {prefix + key: value for key, value in state.items()}
    torch.save({wrapper: content} if wrapper else content, tmp_path / "bs_mamba2_vocals.ckpt")
    network = load_network(tmp_path / "bs_mamba2_vocals.ckpt")
    assert isinstance(network, BSMamba2)
    assert network.config == SMALL
    assert holds(network, bsmamba2.convert(state, SMALL))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("final_norm.gamma"), r"1 missing \(final_norm\.gamma\)"),
        (lambda s: s.pop("layers.0.0.forward_blocks.0.mixer.A_log"), r"1 missing \(layers\.0\.0\.forward"),
        (lambda s: s.update({"mask_estimators.1.x": torch.ones(1)}), "estimates 2 stems"),
        (lambda s: s.update({"extra": torch.ones(1)}), r"1 unknown \(extra\)"),
    ],
)
def test_bsmamba2_is_strict(change: Callable[[dict[str, Tensor]], Any], message: str, tmp_path: Path) -> None:
    state = {key: torch.randn(shape) for key, shape in bsmamba2.shapes(SMALL).items()}
    change(state)
    torch.save(state, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=message):
        load_network(tmp_path / "x.ckpt")


def test_the_settings_written_here_are_read_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "merged_config.yaml").write_bytes(public.settings_file(public.TINY))
    assert yaml.safe_load(public.settings_file(public.TINY))["task"]["model"]["model"]["eps"] == "1e-5"
    assert sfc.configured(read_settings(tmp_path / "merged_config.yaml")) == public.TINY
