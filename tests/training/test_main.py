"""`python -m stemsplit.training` in processes of its own: without the packages it does without, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stemsplit.training import __main__ as command
from stemsplit.training.examples import shards
from stemsplit.weights.checkpoint import load_network

MISSING = ("typer", "rich", "soundfile", "platformdirs", "soxr", "av", "mutagen", "huggingface_hub",
           "mido", "scipy", "librosa", "matplotlib")  # fmt: skip
RUN = f"import sys; sys.modules.update(dict.fromkeys({MISSING!r})); import runpy; " + (
    "runpy.run_module('stemsplit.training', run_name='__main__', alter_sys=True)"
)
RATE = 2000
RECIPE = """
name = "tiny"
songs = "{folder}/songs"
output = "{folder}/run"
dev_songs = 1
log_steps = 2
dev_steps = 4
save_minutes = 1e-9

[network]
stems = ["low", "high"]
sample_rate = 2000
n_fft = 64
hop_length = 16
bands = [3, 5, 25]
dim = 8
blocks_mask = 1
blocks_map = 1
d_state = 4
expand = 1
headdim = 8
head_expand = 2

[mixing]
crop_seconds = 0.25

[schedule]
steps = 20
batch_size = 2
warmup_steps = 2
decay_steps = 2
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(3):
        folder = tmp_path / "songs" / f"{number:04d}"
        folder.mkdir(parents=True)
        for stem in ("low", "high"):
            np.save(folder / f"{stem}.npy", rng.integers(-9000, 9000, (RATE, 2)).astype(np.int16))
    (tmp_path / "tiny.toml").write_text(RECIPE.format(folder=tmp_path.as_posix()))
    return tmp_path / "tiny.toml"


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", RUN, str(recipe), "--device", "cpu", "--loaders", "2", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_run_needs_only_pytorch_and_numpy_and_survives_being_killed(recipe: Path, tmp_path: Path) -> None:
    """Killed by signal 9 in the middle, it ends with the very weights of the run that was left alone."""
    whole = start(recipe, tmp_path / "whole")
    broken = start(recipe, tmp_path / "broken")
    assert broken.stdout is not None
    step = 0
    for line in broken.stdout:
        if (step := json.loads(line)["step"]) >= 6:
            break
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    saved = torch.load(tmp_path / "broken" / "last.pt", weights_only=True)["step"]
    assert step - 2 <= saved < 20  # the last save of all, to the step; the log comes first
    said, _ = whole.communicate(timeout=120)
    resumed = start(recipe, tmp_path / "broken")
    _, complaint = resumed.communicate(timeout=120)
    assert (whole.returncode, resumed.returncode) == (0, 0), complaint
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["step"] for event in events if "loss" in event] == list(range(2, 21, 2))
    assert events[-1] == {"left": str(tmp_path / "whole" / "model"), "step": 20, "steps": 20}
    ends = [torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "broken")]
    for part in ("network", "average"):
        assert all(torch.equal(value, ends[1][part][key]) for key, value in ends[0][part].items())
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "broken")]
    assert [_untimed(line) for line in logs[0] if "dev" in line] == [
        _untimed(line) for line in logs[1] if "dev" in line
    ]
    models = [load_network(tmp_path / name / "model").state_dict() for name in ("whole", "broken")]
    assert all(torch.equal(value, models[1][key]) for key, value in models[0].items())


def _untimed(line: str) -> dict[str, object]:
    return {key: value for key, value in json.loads(line).items() if key not in ("audio_per_second", "loss")}


def test_a_run_trains_on_songs_that_travelled_as_shards(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    shards.pack(sorted((tmp_path / "songs").iterdir()), folder / "songs")
    recipe.write_text(recipe.read_text().replace("/songs", "/shards/unpacked/songs").replace("steps = 20", "steps = 2"))
    calls = [str(recipe), "--device", "cpu", "--shards", str(folder)]
    assert command.main(calls) == 0
    assert len(list((folder / "unpacked" / "songs").iterdir())) == 3
    assert load_network(tmp_path / "run" / "model").config.stems == ("low", "high")
    assert command.main([*calls[:-1], str(tmp_path / "songs")]) != 0


def test_the_weights_that_ship_are_found_without_other_packages() -> None:
    found = f"import sys; sys.modules.update(dict.fromkeys({MISSING!r})); " + (
        "from stemsplit.weights.checkpoint import load_network; load_network('ts-bsmamba2-mini')"
    )
    subprocess.run([sys.executable, "-c", found], check=True)


def test_wrong_calls_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit):
        command.main([])


def test_ctrl_c_says_how_to_go_on(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_recipe", stop)
    assert command.main([str(recipe), "--device", "cpu"]) == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_that_are_stopped_keep_every_step_and_say_one_line(recipe: Path, tmp_path: Path, number: int) -> None:
    endless = recipe.read_text().replace("steps = 20", "steps = 100000").replace("dev_steps = 4", "dev_steps = 99999")
    recipe.write_text(endless.replace("save_minutes = 1e-9", "save_minutes = 60\nworkers = 2"))
    command_line = [sys.executable, "-c", RUN, str(recipe), "--device", "cpu", "--minutes", "0"]
    with subprocess.Popen(
        command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.count("\n") == 1
    assert "goes on from the last step" in said
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] >= told["step"]
