"""`separate` with several models: what it writes, records, skips, derives and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from said import Run
from tiny import TINY, read_song, save_tiny, write_song

import stemsplit
from stemsplit.cli import main
from stemsplit.networks.bsmamba import BSMamba
from stemsplit.weights.checkpoint import save


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two small models of different weights, `a` and `b` in the current folder; and a song."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "a")
    torch.manual_seed(1)
    save(BSMamba(TINY).eval(), tmp_path / "b", name="b", license="CC0-1.0")
    write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 12000)), 8000)
    return Path("a"), Path("b")


def manifest(folder: str = "out/song") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "stemsplit.json").read_text())
    return found


def stem(folder: str, name: str) -> np.ndarray:
    return read_song(Path(folder, "song", f"{name}.wav"))


@pytest.mark.usefixtures("models")
def test_the_mean_of_two_models(run: Run) -> None:
    how = ("--bit-depth", "32f", "-q")
    assert run("separate", "song.wav", "-m", "./a", "-o", "one", *how).code == 0
    assert run("separate", "song.wav", "-m", "./b", "-o", "two", *how).code == 0
    assert run("separate", "song.wav", "-m", "./a", "-m", "./b", "-o", "out", *how).code == 0
    for name in TINY.stems:
        np.testing.assert_allclose(stem("out", name), (stem("one", name) + stem("two", name)) / 2, atol=1e-7)
    said = manifest()["model"]
    assert said["reference"] == "./a, ./b"
    singles = [manifest(f"{folder}/song")["model"] for folder in ("one", "two")]
    assert said["models"] == [{**single, "share": dict.fromkeys(TINY.stems, 0.5)} for single in singles]


@pytest.mark.usefixtures("models")
def test_a_pick_has_the_bytes_of_its_models(run: Run) -> None:
    assert run("separate", "song.wav", "-m", "./a", "-o", "one", "-q").code == 0
    assert run("separate", "song.wav", "-m", "./b", "-o", "two", "-q").code == 0
    assert run("separate", "song.wav", "-m", "vocals=./b,rest=./a", "-o", "out", "-q").code == 0
    for name in TINY.stems:
        other = "two" if name == "vocals" else "one"
        assert Path("out/song", f"{name}.wav").read_bytes() == Path(other, "song", f"{name}.wav").read_bytes()
    assert [entry["share"] for entry in manifest()["model"]["models"]] == [
        {"vocals": 1.0},
        {"drums": 1.0, "bass": 1.0, "other": 1.0},
    ]


@pytest.mark.usefixtures("models")
def test_resuming_and_deriving_know_the_models(run: Run) -> None:
    pick = ("-m", "vocals=./b,rest=./a", "-o", "out")
    assert run("separate", "song.wav", *pick).code == 0
    assert "done already" in run("separate", "song.wav", *pick).err
    derived = run("separate", "song.wav", *pick, "--without", "vocals")
    assert "from stems that were there" in derived.err
    assert "done already" in run("separate", "song.wav", *pick).err
    assert "done already" not in run("separate", "song.wav", "-m", "./a", "-m", "./b", "-o", "out").err
    told = run("separate", "song.wav", "-m", "./b", "-m", "./a", "-o", "out", "--without", "drums", "-v").err
    assert "of another model" in told
    assert run("mix", "song.wav", "-o", "out", "--without", "bass").code == 0


@pytest.mark.usefixtures("models")
def test_one_stem_goes_to_a_pipe(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["separate", "song.wav", "-m", "./a", "-m", "./b", "--stems", "bass", "-o", "-"]) == 0
    piped = capfdbinary.readouterr().out
    assert main(["separate", "song.wav", "-m", "./a", "-m", "./b", "--stems", "bass", "-o", "out"]) == 0
    assert piped == Path("out/song/bass.wav").read_bytes()


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-m", "./a", "-m", "./a"], "./a is there twice"),
        (["-m", "./a", "-m", "a"], "./a and a are the same model"),
        (["-m", "vocals=./b"], None),
        (["-m", "piano=./a,rest=./b"], "./a has no stem 'piano'"),
        (["-m", "./a", "-m", "vocals=./b"], "rest=./a"),
        (["-m", "vocals=nope,rest=./b"], "There is no model nope"),
        (["-m", "vocals=,rest=./b"], "reference is empty"),
        (["-m", "vocals=melody-cnn,rest=./b"], "melody-cnn reads melodies"),
        (["-m", "drums=./a,bass=./a,other=./a,vocals=./a,rest=./b"], "rest=./b: nothing is left"),
        (["-m", "vocals=./b", "--stems", "drums"], "no stem 'drums'"),
    ],
    ids=str,
)
def test_what_is_refused_and_nothing_is_written(run: Run, arguments: list[str], says: str | None) -> None:
    said = run("separate", "song.wav", "-o", "out", *arguments)
    if says is None:
        assert said.code == 0
        assert [path.name for path in sorted(Path("out/song").glob("*.wav"))] == ["vocals.wav"]
        return
    assert said.code == 2
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert not Path("out").exists()


@pytest.mark.usefixtures("models")
def test_from_python() -> None:
    mean = stemsplit.separate("song.wav", model=["./a", "./b"])
    one, other = (stemsplit.separate("song.wav", model=name) for name in ("./a", "./b"))
    np.testing.assert_allclose(mean.stems["bass"], (one.stems["bass"] + other.stems["bass"]) / 2, atol=1e-7)
    assert mean.model == "./a, ./b"
    picked = stemsplit.separate("song.wav", model={"vocals": "./b", "rest": stemsplit.load_network("./a", "cpu")})
    assert np.array_equal(picked.stems["vocals"], other.stems["vocals"])
    assert np.array_equal(picked.stems["drums"], one.stems["drums"])
    picked.save("saved")
    assert len(manifest("saved")["model"]["models"]) == 2
    (outcome,) = stemsplit.separate_files("song.wav", "out", model=["./a", "./b"])
    assert outcome.status == "done"
    (again,) = stemsplit.separate_files("song.wav", "out", model=["./a", "./b"])
    assert again.status == "skipped"
