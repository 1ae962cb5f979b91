"""Checkpoints: ours and the public ones, strict, and never run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_state import seeded_tensor
from torch import Tensor

from stemsplit.errors import CheckpointError, HashError
from stemsplit.machine.disk import sha256_of
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig
from stemsplit.weights import checkpoint
from stemsplit.weights.catalog import locate
from stemsplit.weights.checkpoint import convert, load_network, save
from stemsplit.weights.layouts.ts_bsmamba2 import convert as from_published
from stemsplit.weights.layouts.ts_bsmamba2 import shapes as published_shapes

TINY = BSMambaConfig(
    n_fft=64, hop_length=16, bands=(2, 3, 28), dim=8, blocks_mask=2, blocks_map=1, d_state=4, expand=2, headdim=4
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))


def published_state() -> dict[str, Tensor]:
    return {key: torch.from_numpy(seeded_tensor(key, shape)) for key, shape in published_shapes(TINY).items()}


def public_file(folder: Path, content: Any, name: str = "weights.ckpt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def tiny_network(seed: int = 0) -> BSMamba:
    torch.manual_seed(seed)
    return BSMamba(TINY).eval()


def outputs(network: BSMamba) -> Tensor:
    with torch.inference_mode():
        return network(torch.linspace(-1, 1, 600).reshape(1, 2, 300))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    network = tiny_network()
    save(network, tmp_path / "m", name="m", license="CC0-1.0")
    loaded = load_network(tmp_path / "m")
    assert loaded.config == TINY
    assert torch.equal(outputs(loaded), outputs(network))
    assert not loaded.training
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["license"] == "CC0-1.0"
    assert config["parameters"] == sum(value.numel() for value in network.parameters())
    assert config["weights"]["sha256"] == sha256_of(tmp_path / "m" / "model.safetensors")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_weights_are_computed_in_float32(tmp_path: Path) -> None:
    network = tiny_network()
    loaded = load_network(save(network, tmp_path / "m", dtype=torch.float16))
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(outputs(loaded), outputs(network), atol=5e-3, rtol=0)


def test_saving_again_keeps_what_is_said_of_the_model(tmp_path: Path) -> None:
    save(tiny_network(), tmp_path / "m", description="first")
    save(tiny_network(1), tmp_path / "m", license="MIT")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["description"], config["license"]) == ("first", "MIT")
    assert torch.equal(outputs(load_network(tmp_path / "m")), outputs(tiny_network(1)))


@pytest.mark.parametrize("wrapper", [None, "state", "state_dict", "model_state_dict"])
def test_a_public_checkpoint_is_converted_plain_or_wrapped(tmp_path: Path, wrapper: str | None) -> None:
    state = published_state()
    source = public_file(tmp_path, {wrapper: state, "epoch": 11} if wrapper else state)
    loaded = load_network(
        convert(replace(locate(source), source="https://example.org/weights.ckpt"), tmp_path / "ours")
    )
    expected = BSMamba(TINY).eval()
    expected.load_state_dict(from_published(state, TINY))
    assert torch.equal(outputs(loaded), outputs(expected))
    assert loaded.config.stems == ("drums", "bass", "other", "vocals")
    weights = json.loads((tmp_path / "ours" / "config.json").read_text())["weights"]
    assert weights["source_sha256"] == sha256_of(source)
    assert weights["source"] == "https://example.org/weights.ckpt"


def test_the_cache_holds_a_conversion_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = public_file(tmp_path, published_state())
    first = load_network(source)
    monkeypatch.setattr(checkpoint, "convert", lambda *args, **named: pytest.fail("converted again"))
    assert torch.equal(outputs(load_network(locate(str(source)))), outputs(first))


def test_conversion_of_a_folder_keeps_its_numbers(tmp_path: Path) -> None:
    save(tiny_network(), tmp_path / "a", name="a")
    convert(tmp_path / "a", tmp_path / "b")
    assert torch.equal(outputs(load_network(tmp_path / "b")), outputs(tiny_network()))


def test_a_pickle_that_is_more_than_tensors_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    source = public_file(tmp_path, {"state": Payload()})
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_network(source)
    assert not marker.exists()


def test_values_that_are_no_tensors_are_named(tmp_path: Path) -> None:
    source = public_file(tmp_path, published_state() | {"epoch": 11})
    with pytest.raises(CheckpointError, match="more than tensors: epoch"):
        load_network(source)


def _without(key: str) -> dict[str, Tensor]:
    return {name: value for name, value in published_state().items() if name != key}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (_without("in_conv.bias"), r"1 missing \(in_conv\.bias\)"),
        (_without("BN_mask.0.0.weight"), r"1 missing \(BN_mask\.0\.0\.weight\)"),
        (published_state() | {"in_conv.extra": torch.ones(1)}, r"1 unknown \(in_conv\.extra\)"),
        (
            published_state() | {"in_conv.bias": torch.ones(3)},
            r"1 misshapen \(in_conv\.bias \(3,\) instead of \(8,\)\)",
        ),
        ({"something.else": torch.ones(2)}, "of no layout that is known"),
    ],
)
def test_keys_that_do_not_fit_are_named(tmp_path: Path, state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        convert(public_file(tmp_path, state), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 a broken zip"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.ckpt"):
        load_network(tmp_path / "weights.ckpt")


def test_truncated_safetensors_and_changed_bytes_are_refused(tmp_path: Path) -> None:
    folder = save(tiny_network(), tmp_path / "m")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(HashError):
        load_network(folder)
    weights.write_bytes(whole[: len(whole) // 2])
    _edit(folder, lambda config: config["weights"].pop("sha256"))
    with pytest.raises(CheckpointError, match="damaged"):
        load_network(folder)


def _edit(folder: Path, change: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["network"].update(dim=16), "misshapen"),
        (lambda c: c["network"].update(blocks_map=2), "missing"),
        (lambda c: c["network"].update(blocks_mask=1), "unknown"),
        (lambda c: c["network"].update(wings=2), "unknown settings wings"),
        (lambda c: c["network"].update(dim="wide"), "config"),
        (lambda c: c.update(architecture="no-such-network"), "no-such-network"),
        (lambda c: c.update(format=2), "format 2"),
    ],
)
def test_a_config_that_does_not_fit_its_weights_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    folder = save(tiny_network(), tmp_path / "m")
    _edit(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_network(folder)


def test_an_interrupted_save_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tiny_network(), tmp_path / "m")

    def full(*args: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.safetensors.torch, "save_file", full)
    with pytest.raises(Exception, match="no space left"):
        save(tiny_network(1), folder)
    monkeypatch.undo()
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    assert torch.equal(outputs(load_network(folder)), outputs(tiny_network()))
    assert len(list(folder.iterdir())) == 2


def test_loading_does_not_import_the_compiler(tmp_path: Path) -> None:
    """A needless second at every start, and easily brought back by one more operation on the meta device."""
    save(tiny_network(), tmp_path / "m")
    program = (
        "import sys; from stemsplit.weights.checkpoint import load_network; "
        f"load_network({str(tmp_path / 'm')!r}); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
