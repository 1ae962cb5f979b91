"""The recipe that packs songs for another machine: turns, shares of the size, what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pack_shards as recipe
from stemsplit.training.examples.shards import unpack_all


def write_songs(folder: Path, count: int) -> Path:
    for number in range(count):
        (folder / f"{number:04d}").mkdir(parents=True)
        audio = np.random.default_rng(number).integers(-9000, 9000, (4410, 2)).astype(np.int16)
        np.save(folder / f"{number:04d}" / "vocals.npy", audio)
    return folder


def call(folder: Path, megabytes: float) -> list[str]:
    kinds = [part for kind in ("songs", "backing", "dev") for part in (f"--{kind}", str(folder / kind))]
    return [*kinds, "--megabytes", str(megabytes), "--out", str(folder / "shards")]


def test_each_kind_gets_its_share_of_the_size(tmp_path: Path) -> None:
    for kind in recipe.SHARES:
        write_songs(tmp_path / kind, 6)
    assert recipe.main(call(tmp_path, 0.07)) == 0
    for kind, share in recipe.SHARES.items():
        packed = sum(path.stat().st_size for path in (tmp_path / "shards").glob(f"{kind}-*.zip"))
        assert 0 < packed <= share * 70_000
    unpack_all(tmp_path / "shards", tmp_path / "unpacked")
    kept = {kind: len(list((tmp_path / "unpacked" / kind).glob("*/vocals.npy"))) for kind in recipe.SHARES}
    assert kept["songs"] > kept["backing"] > kept["dev"] > 0


def test_several_folders_are_taken_in_turns() -> None:
    lists = [[Path("a1"), Path("a2"), Path("a3")], [Path("b1")], [Path("c1"), Path("c2")]]
    assert [path.name for path in recipe.in_turns(lists)] == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_what_is_missing_or_too_large_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("songs", "backing"):
        write_songs(tmp_path / kind, 1)
    assert recipe.main(call(tmp_path, 1.0)) == 1
    assert f"no songs in {tmp_path / 'dev'}" in capsys.readouterr().err
    write_songs(tmp_path / "dev", 1)
    assert recipe.main(call(tmp_path, 0.001)) == 1
    assert "does not fit" in capsys.readouterr().err
