"""Files of tensors that are damaged, too large, or hold something else: one plain refusal, and no memory."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tiny import save_tiny
from tiny_melody import save_tiny_melody
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.weights import checkpoint
from stemsplit.weights.checkpoint import load_network
from stemsplit.weights.tensors import open_safetensors, read_pickle


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny separator whose config states no hash."""
    return without_hash(save_tiny(tmp_path / "model"))


def without_hash(folder: Path) -> Path:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"sha256"', '"was"'))
    return folder


def rewrite(folder: Path, **changes: Tensor) -> None:
    """Replace tensors of a model, or add some. Their names have "__" for dots."""
    weights = folder / "model.safetensors"
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    safetensors.torch.save_file(safetensors.torch.load_file(weights) | changed, weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("leaf", ["A_log", "dt_bias", "conv1d.bias", "weight3"])
def test_weights_that_are_no_numbers_are_refused(model: Path, leaf: str, value: float) -> None:
    state = safetensors.torch.load_file(model / "model.safetensors")
    key = next(key for key in state if key.endswith(leaf))
    state[key].view(-1)[-1:].fill_(value)
    rewrite(model, **{key: state[key]})
    with pytest.raises(CheckpointError, match=f"NaN or infinity, in {key}"):
        load_network(model)


def test_large_weights_are_no_infinity(model: Path) -> None:
    rewrite(model, fusion__bias=torch.full((8,), 3e38))
    assert load_network(model).fusion.bias.sum().isinf()


def test_statistics_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = without_hash(save_tiny_melody(tmp_path / "melody"))
    rewrite(folder, stage1__norm__running_var=torch.full((32,), torch.nan))
    with pytest.raises(CheckpointError, match=r"stage1\.norm\.running_var"):
        load_network(folder)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [(torch.int64, "whole"), (torch.bool, "BOOL"), (torch.uint8, "whole"), (torch.float8_e4m3fn, "F8_E4M3")],
)
def test_numbers_of_another_type_are_misshapen(model: Path, dtype: torch.dtype, kind: str) -> None:
    rewrite(model, fusion__bias=torch.zeros(8, dtype=dtype))
    with pytest.raises(CheckpointError, match=rf"1 misshapen \(fusion\.bias \(8,\) {kind} instead of \(8,\)\)"):
        load_network(model)


def test_nothing_is_read_of_what_does_not_fit(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(model, more=torch.zeros(3))
    monkeypatch.setattr("stemsplit.weights.tensors.SafeFile.read", lambda self: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match=r"1 unknown \(more\)"):
        load_network(model)


def test_many_layers_are_refused_before_they_are_built(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = model / "config.json"
    config.write_text(config.read_text().replace('"blocks_mask": 1', '"blocks_mask": 100'))
    monkeypatch.setattr("stemsplit.networks.bsmamba.Block", lambda config: pytest.fail("it was built"))
    with pytest.raises(CheckpointError, match=r"they are 1\d\d tensors, it has 4066 or more"):
        load_network(model)


DAMAGED = (b"", b"\xff" * 8, b"\xff" * 200, (1 << 40).to_bytes(8, "little") + b"{}", b"\x02" + bytes(7) + b"[]")


@pytest.mark.parametrize("content", DAMAGED)
def test_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or no safetensors"), open_safetensors(path):
        pass


# --- pickles


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("key", [1, None, (1, "a"), b"a", 1.5, True])
def test_keys_that_are_no_names(tmp_path: Path, key: Any) -> None:
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_pickle(saved(tmp_path / "a.ckpt", {key: torch.zeros(2), "b": torch.zeros(2)}))


STRANGE: dict[str, Callable[[], Any]] = {
    "sparse": lambda: torch.zeros(3, 3).to_sparse(),
    "meta": lambda: torch.zeros(3, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
    "list": lambda: [torch.zeros(3)],
    "dict": lambda: {"a": 3},
    "text": lambda: "text",
    "none": lambda: None,
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.filterwarnings("ignore")
def test_values_that_are_no_plain_tensors(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CheckpointError, match=r"a\.ckpt"):
        read_pickle(saved(tmp_path / "a.ckpt", {"a": torch.zeros(2), "b": STRANGE[kind]()}))


@pytest.mark.parametrize("content", [{}, [], 3, torch.zeros(3), {"state_dict": {}}, {"state_dict": 3}, "text", None])
def test_no_state_dict(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"a\.ckpt"):
        read_pickle(saved(tmp_path / "a.ckpt", content))


def test_one_number_that_claims_to_be_gigabytes(tmp_path: Path) -> None:
    huge = torch.zeros(1).expand(100_000, 100_000)
    with pytest.raises(CheckpointError, match="larger than the file"):
        read_pickle(saved(tmp_path / "a.ckpt", {"a": huge}))


def archive(path: Path, change: Callable[[str, bytes], bytes], **how: int) -> Path:
    """Save a checkpoint whose entries are changed."""
    saved(path, {"a": torch.arange(1000.0)})
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", **how) as new:
        for name, data in entries.items():
            new.writestr(name, change(name, data))
    return path


def test_an_archive_of_the_same_entries_is_read(tmp_path: Path) -> None:
    state = read_pickle(archive(tmp_path / "a.ckpt", lambda name, data: data))
    assert torch.equal(state["a"], torch.arange(1000.0))


def test_packed_archives_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.ckpt", lambda name, data: data, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="packed"):
        read_pickle(path)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ckpt", {"a": torch.arange(1000.0)})
    data = bytearray(path.read_bytes())
    at = data.index(torch.tensor(500.0).numpy().tobytes())
    data[at + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged: Bad CRC-32"):
        read_pickle(path)


def test_checksums_that_were_not_written_are_not_compared(tmp_path: Path) -> None:
    from torch.serialization import set_crc32_options

    set_crc32_options(False)
    try:
        path = saved(tmp_path / "a.ckpt", {"a": torch.arange(3.0)})
    finally:
        set_crc32_options(True)
    assert read_pickle(path)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("new", [True, False])
def test_files_that_were_cut_off(tmp_path: Path, share: float, new: bool) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.arange(1000.0)}, path, _use_new_zipfile_serialization=new)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"a\.ckpt"):
        read_pickle(path)


@pytest.mark.parametrize("new", [True, False])
def test_whatever_byte_is_damaged_it_is_loaded_or_refused(tmp_path: Path, new: bool) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.arange(3.0), "b": torch.ones(2, 2)}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    for at in range(new, len(whole), 23 if new else 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
        with suppress(CheckpointError):
            read_pickle(path)


@pytest.mark.parametrize(
    "state",
    [
        {"BN_mask.0.0.weight": torch.zeros(())},
        {"BN_mask.99999999.0.weight": torch.zeros(2)},
        {f"BN_mask.{'9' * 5000}.0.weight": torch.zeros(2)},
        {
            "BN_mask.0.0.weight": torch.zeros(0),
            "mask.0.1.weight": torch.zeros(()),
            "mask.0.5.weight": torch.zeros(3, 3),
            "separator_mask.0.band_rnn.rnn.forward_mamba2.A_log": torch.zeros(0),
            "separator_mask.0.band_rnn.rnn.forward_mamba2.conv1d.weight": torch.zeros(()),
            "separator_mask.0.band_rnn.rnn.forward_mamba2.out_proj.weight": torch.zeros(3),
        },
        {"BN_mask.0.0.weight": torch.zeros(2, dtype=torch.complex64)},
        {"": torch.zeros(2)},
        {"a\nb\x1b": torch.zeros(2)},
    ],
)
def test_shapes_that_no_network_has(tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match=r"a\.ckpt") as caught:
        checkpoint.load_network(saved(tmp_path / "a.ckpt", state))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
