"""The mean of two models: its share, what is said of it, and what has no mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TINY

import mean_of_models as recipe
from stemsplit.networks.bsmamba import BSMamba
from stemsplit.weights.card import read_config
from stemsplit.weights.checkpoint import load_network, save


def written(folder: Path, seed: int, **changes: int) -> Path:
    torch.manual_seed(seed)
    return save(BSMamba(replace(TINY, **changes)), folder, name=folder.name, license="CC0-1.0")


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_tensor_is_on_the_way_from_one_to_the_other(tmp_path: Path, share: float) -> None:
    old, new = written(tmp_path / "old", 0), written(tmp_path / "new", 1)
    assert recipe.main([str(old), str(new), "--share", str(share), "--out", str(tmp_path / "mean")]) == 0
    first, last, mean = (load_network(tmp_path / name).state_dict() for name in ("old", "new", "mean"))
    for key, value in mean.items():
        torch.testing.assert_close(value, (1 - share) * first[key] + share * last[key], rtol=1e-3, atol=1e-6)
    assert read_config(tmp_path / "mean" / "config.json")["name"] == "new"


def test_other_networks_and_shares_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, other = written(tmp_path / "old", 0), written(tmp_path / "other", 0, dim=2 * TINY.dim)
    calls = [str(old), str(other), "--out", str(tmp_path / "mean")]
    assert recipe.main(calls) == 2
    assert "different networks" in capsys.readouterr().err
    assert recipe.main([str(old), str(tmp_path / "none"), *calls[2:]]) != 0
    with pytest.raises(SystemExit):
        recipe.main([*calls, "--share", "1.5"])
    assert not (tmp_path / "mean").exists()
