"""The loop: what a run leaves, its log, its clock, a full disk."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_task import Toy, ToyTask

from stemsplit.errors import OutputError, UsageError
from stemsplit.training import loop, pace
from stemsplit.training.averaging import Best
from stemsplit.training.curve import read_log
from stemsplit.training.pace import Pace
from stemsplit.training.schedule import Schedule


def test_threads_do_not_change_what_is_learnt(tmp_path: Path) -> None:
    ends = []
    for loaders in (0, 3):
        left = loop.train(ToyTask(tmp_path / str(loaders)), pace=Pace(loaders=loaders))
        ends.append(torch.load(left)["weight"])
    assert torch.equal(*ends)
    assert ends[0].abs().sum() > 0


def weight_of(path: Path) -> torch.Tensor:
    return torch.load(path)["weight"]


def test_a_run_leaves_the_mean_of_its_best_if_that_is_better(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    task = ToyTask(tmp_path, Schedule(steps=40, warmup_steps=0, decay_steps=0, ema=0.0, best=3), target=0.0165)
    left = weight_of(loop.train(task, on_event=events.append))
    kept = Best(tmp_path / "best", 3).kept
    assert {entry.step for entry in kept} == {12, 16, 20}
    files = [weight_of(tmp_path / "best" / f"step-{entry.step:09d}.pt").double() for entry in kept]
    assert torch.equal(left, torch.stack(files).mean(0).float())
    assert events[-1]["export"] == "mean of the best 3"
    assert events[-1]["dev"]["loss"] < events[-1]["instead_of"]["loss"]


def test_a_run_leaves_its_last_average_if_that_is_better(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    left = weight_of(loop.train(ToyTask(tmp_path, target=9.0), on_event=events.append))
    assert torch.equal(left, torch.load(tmp_path / "last.pt")["average"]["weight"])
    assert events[-1]["export"] == "last average"


def test_without_figures_the_last_average_is_left(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    left = weight_of(loop.train(ToyTask(tmp_path, has_dev=False), on_event=events.append))
    assert torch.equal(left, torch.load(tmp_path / "last.pt")["average"]["weight"])
    assert not any("export" in event for event in events)
    assert not (tmp_path / "best").exists()


def test_a_run_from_scratch_forgets_the_best_of_another(tmp_path: Path) -> None:
    loop.train(ToyTask(tmp_path, target=0.01))
    (tmp_path / "last.pt").unlink()
    loop.train(ToyTask(tmp_path, Schedule(steps=8, warmup_steps=0, decay_steps=0, ema=0.0), target=9.0))
    assert {entry.step for entry in Best(tmp_path / "best", 5).kept} == {4, 8}
    assert [event["step"] for event in read_log(tmp_path / "log.jsonl")] == [2, 4, 6, 8, 8]


def test_what_a_killed_run_logged_after_its_save_is_not_there_twice(tmp_path: Path) -> None:
    task = ToyTask(tmp_path)
    loop.train(dataclasses.replace(task, schedule=dataclasses.replace(task.schedule, steps=10)))
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 12, "loss": 1}\n{"step": 14, "lo')
    loop.train(task)
    events = read_log(tmp_path / "log.jsonl")
    assert [event["step"] for event in events if "loss" in event] == list(range(2, 41, 2))
    assert [event["step"] for event in events if "export" in event] == [40]
    assert all(json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_a_full_disk_is_said_in_one_line_and_leaves_the_last_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.train(ToyTask(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    state = loop.resume(ToyTask(tmp_path), tmp_path / "last.pt", torch.device("cpu"))
    with pytest.raises(OutputError, match=r"last\.pt: no space left"):
        loop.save(state._replace(step=99), tmp_path / "last.pt")
    with pytest.raises(OutputError, match="no space left"):
        Best(tmp_path / "best", 5).offer(99, {"loss": -1.0}, state.average)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_rate_fades_over_the_last_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    rates: list[float] = []
    true_step = loop.take_step

    def slow_step(state: loop.State, *args: Any) -> float:
        found = true_step(state, *args)
        rates.append(state.optimizer.param_groups[0]["lr"])
        now[0] += 60
        return found

    monkeypatch.setattr(loop, "take_step", slow_step)
    schedule = Schedule(steps=1000, warmup_steps=0, decay_steps=0, learning_rate=1.0)
    loop.train(ToyTask(tmp_path, schedule), pace=Pace(minutes=10, decay_minutes=4))
    assert rates == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0.0])


def test_muon_needs_a_network_that_names_its_matrices() -> None:
    with pytest.raises(UsageError, match="a Linear names no matrices"):
        loop.optimizer_of(torch.nn.Linear(2, 2), Schedule(optimizer="muon"))


def test_workers_cannot_go_by_a_clock(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one clock"):
        loop.train(ToyTask(tmp_path, workers=2), pace=Pace(minutes=1, decay_minutes=1))


def test_every_worker_goes_at_the_same_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    @contextmanager
    def recorded(workers: int, follow: object, *args: Any) -> Iterator[None]:
        given.extend((workers, *args))
        yield

    monkeypatch.setattr(loop, "followers", recorded)
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)
    loop.train(ToyTask(tmp_path, workers=2), pace=Pace(minutes=9, loaders=3, compile=True))
    assert given[0] == 2
    assert given[-1] == Pace(minutes=None, loaders=3, compile=True)  # number 0 says when it is over


def test_blocks_are_compiled_or_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    blocks = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    loop._compile(nn.ModuleDict({"first": nn.Linear(1, 1), "blocks": blocks}))
    assert compiled == list(blocks)
    loop.train(ToyTask(tmp_path), pace=Pace(compile=True))
    assert isinstance(compiled[2], Toy)


def test_a_cpu_without_bf16_trains_in_fp32_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Noting(ToyTask):
        def loss_of(self, network: nn.Module, drawn: torch.Tensor) -> torch.Tensor:
            seen.append(self.schedule.precision)
            return super().loss_of(network, drawn)

    def run(name: str, steps: int, precision: str = "bf16") -> list[dict[str, Any]]:
        schedule = Schedule(steps=steps, warmup_steps=0, decay_steps=0, ema=0.0, precision=precision)
        loop.train(Noting(tmp_path / name, schedule))
        return [event for event in read_log(tmp_path / name / "log.jsonl") if "precision" in event]

    monkeypatch.setattr(loop, "has_bfloat16", lambda: False)
    assert [event["step"] for event in run("slow", 4)] == [0]
    again = run("slow", 8)
    assert [(event["step"], event["precision"]) for event in again] == [(4, "fp32")]
    assert "no instructions" in again[0]["because"]
    assert run("plain", 4, "fp32") == []
    assert {*seen} == {"fp32"}
    seen.clear()
    monkeypatch.setattr(loop, "has_bfloat16", lambda: True)
    assert run("fast", 4) == []
    assert {*seen} == {"bf16"}
