"""Codecs side by side: one budget, runs that go on, and one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stemsplit.networks.bsmamba import BSMambaConfig
from stemsplit.training.examples import shards

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RECIPE = """name = "tiny"
songs = "data/songs/train"
backing = "data/pairs"
dev_folder = "data/dev/heldout"
output = "runs/tiny"
loss = "spectrum"
[network]
sample_rate = 8000
chunk_samples = 4000
n_fft = 128
hop_length = 64
bands = [5, 20, 40]
dim = 8
headdim = 8
d_state = 4
expand = 1
head_expand = 1
blocks_mask = 1
blocks_map = 1
joint = true
normalize = true
[mixing]
crop_seconds = 0.2
backing = 0.5
[schedule]
steps = 100
batch_size = 2
precision = "bf16"
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import codec_choices  # type: ignore[import-not-found]

    monkeypatch.setattr(codec_choices, "measured", codec_choices.cost_of)  # in this process
    return codec_choices


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for song in ("songs/train/0", "songs/train/1", "dev/heldout/0"):
        (tmp_path / "data" / song).mkdir(parents=True)
        for stem in ("drums", "bass", "other", "vocals"):
            np.save(tmp_path / "data" / song / f"{stem}.npy", rng.integers(-900, 900, (9000, 2)).astype("i2"))
    (tmp_path / "tiny.toml").write_text(RECIPE)
    return tmp_path


def run(script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    names = ("--data", f"{folder}/data", "--recipe", f"{folder}/tiny.toml", "--output", f"{folder}/out")
    monkeypatch.setattr(sys, "argv", ["codec_choices.py", *names, *options])
    script.main()


def test_one_command_trains_all_and_prints_a_table_and_does_nothing_again(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(script, folder, monkeypatch, "--steps", "4")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == "4 steps, 0.0 minutes of audio each (separators alike)"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0][:6] == ["codec", "dev SDR", "drums", "bass", "other", "vocals"]
    assert [row[0] for row in cells[2:]] == ["band split", "SFC-CA", "SFC-Mamba"]
    assert all(len(row) == len(cells[0]) and all(row) for row in cells)
    for name in ("band-split", "sfc-ca", "sfc-mamba"):
        config = json.loads((folder / "out" / name / "model" / "config.json").read_text())["network"]
        assert config["codec"] == name
    monkeypatch.setattr(script.loop, "train", None)  # not called again
    run(script, folder, monkeypatch)
    assert capsys.readouterr().out == printed
    with pytest.raises(SystemExit, match="holds runs of 4 steps, separators alike"):
        run(script, folder, monkeypatch, "--equal", "parameters")


def test_minutes_are_those_of_the_slowest(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"band-split": 1.0, "sfc-ca": 2.0, "sfc-mamba": 4.0}
    monkeypatch.setattr(script, "seconds_of_a_step", lambda recipe, device: seconds[recipe.output.name])
    seen: list[Any] = []
    monkeypatch.setattr(script, "row_of", lambda recipe, budget, options: seen.append((recipe, budget)))
    monkeypatch.setattr(script, "table", lambda rows, stems: ())
    run(script, folder, monkeypatch, "--minutes", "2")
    assert [budget.steps for _, budget in seen] == [30, 30, 30]
    assert [budget.seconds for _, budget in seen] == [pytest.approx(30 * 2 * 0.2)] * 3
    recipe = seen[0][0]
    assert recipe.dev_folder == (folder / "data" / "dev" / "heldout",)
    assert recipe.mixing.backing == 0  # there is no such folder


def test_songs_that_were_packed_for_another_machine_are_unpacked(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, data = folder / "shards", folder / "data"
    for kind, songs in (("songs", [data / "songs/train/0", data / "songs/train/1"]), ("dev", [data / "dev/heldout/0"])):
        shards.pack(songs, packed / kind, total_bytes=10**6)
    recipe = 'weights = "ts-bsmamba2-mini"\n' + RECIPE
    for there, here in (("songs/train", "unpacked/songs"), ("dev/heldout", "unpacked/dev")):
        recipe = recipe.replace(f"data/{there}", f"shards/{here}")
    (folder / "tiny.toml").write_text(recipe)
    seen: list[Any] = []
    monkeypatch.setattr(script, "row_of", lambda recipe, budget, options: seen.append(recipe))
    monkeypatch.setattr(script, "table", lambda rows, stems: ())
    run(script, folder, monkeypatch, "--data", str(packed), "--steps", "2")
    assert seen[0].songs == (packed / "unpacked" / "songs",)
    assert seen[0].dev_folder == (packed / "unpacked" / "dev",)
    assert len(seen[0]._songs) == 2
    assert not seen[0].weights  # they are those of one codec


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = script.loop.train

    def stopped(task: Any, **settings: Any) -> Path:
        def stop(event: dict[str, Any]) -> None:
            if "loss" in event:
                raise KeyboardInterrupt

        from dataclasses import replace

        return train(replace(task, log_steps=2), on_event=stop)  # type: ignore[no-any-return]

    monkeypatch.setattr(script.loop, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(script, folder, monkeypatch, "--steps", "5")
    monkeypatch.setattr(script.loop, "train", train)
    run(script, folder, monkeypatch)
    assert "5 steps" in capsys.readouterr().out
    assert json.loads((folder / "out" / "band-split" / "minutes.json").read_text()) > 0


def test_widened_networks_have_about_as_many_parameters(script: ModuleType) -> None:
    stored = json.loads((BENCHMARKS.parent / "models" / "ts-bsmamba2-mini" / "config.json").read_text())
    config = BSMambaConfig.from_dict(stored["network"])
    wanted = script.parameters_of(config)
    for changes in script.CODECS.values():
        alike = script.with_codec(config, changes, alike=True)
        assert abs(script.parameters_of(alike) / wanted - 1) < 0.15
        assert alike.codec_bands == 27 or not changes
