"""The loop: drawing ahead, the best weights and their mean, its log, its clock."""

from __future__ import annotations

import dataclasses
import errno
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toy_task import Toy, ToyTask

from stemsplit.errors import OutputError, UsageError
from stemsplit.training import loop
from stemsplit.training.averaging import Best, score_of
from stemsplit.training.curve import draw_curve, read_log
from stemsplit.training.loop import Pace
from stemsplit.training.prefetch import drawn_ahead, threads_for
from stemsplit.training.schedule import Schedule

# --- drawing ahead


@pytest.mark.parametrize("threads", [0, 1, 3, 20])
def test_draws_come_in_order_whatever_the_threads(threads: int) -> None:
    def draw(step: int) -> int:
        time.sleep(0.002 * (step % 3))  # later ones are ready earlier
        return step * step

    assert list(drawn_ahead(draw, range(5, 17), threads)) == [step * step for step in range(5, 17)]
    assert list(drawn_ahead(draw, range(0), threads)) == []


def test_no_more_is_held_than_two_batches_per_thread() -> None:
    started: list[int] = []
    draws = drawn_ahead(lambda step: started.append(step), range(100), 2)
    for taken in range(1, 6):
        next(draws)
        time.sleep(0.05)
        assert len(started) == taken + 4
    draws.close()
    time.sleep(0.05)
    assert len(started) <= 9
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("draw")]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_out_at_its_step(threads: int) -> None:
    def draw(step: int) -> float:
        return 1 / (3 - step)

    draws = drawn_ahead(draw, range(10), threads)
    assert [next(draws) for _ in range(3)] == [1 / 3, 1 / 2, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(draws)


def test_threads_do_not_change_what_is_learnt(tmp_path: Path) -> None:
    ends = []
    for loaders in (0, 3):
        left = loop.train(ToyTask(tmp_path / str(loaders)), pace=Pace(loaders=loaders))
        ends.append(torch.load(left)["weight"])
    assert torch.equal(*ends)
    assert ends[0].abs().sum() > 0


def test_a_cpu_draws_when_asked_and_a_gpu_ahead() -> None:
    assert threads_for(torch.device("cpu")) == 0
    assert threads_for(torch.device("cuda")) >= 1


# --- the best weights


def toy(value: float, count: int = 0) -> Toy:
    network = Toy()
    with torch.no_grad():
        network.weight.copy_(value * torch.tensor([1.0, 2.0, 3.0]))
        network.steps.fill_(count)  # type: ignore[operator]
    return network


def test_the_best_are_kept_and_averaged(tmp_path: Path) -> None:
    best = Best(tmp_path / "best", 3)
    for step, score in enumerate([5.0, 1.0, float("nan"), 4.0, 2.0, 9.0, 3.0, float("inf")]):
        best.offer(step, {"a": score - 1, "b": score + 1}, toy(score, step))
    assert [(kept.step, kept.score) for kept in best.kept] == [(1, 1.0), (4, 2.0), (6, 3.0)]
    again = Best(tmp_path / "best", 3)
    assert again.kept == best.kept
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [
        "best.json", "step-000000001.pt", "step-000000004.pt", "step-000000006.pt",
    ]  # fmt: skip
    mean = again.mean(toy(0))
    assert torch.equal(mean.weight, 2 * torch.tensor([1.0, 2.0, 3.0]))
    assert mean.steps == 1  # the best one's
    again.clear()
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["best.json"]


def test_the_mean_is_that_of_float64(tmp_path: Path) -> None:
    best, rng = Best(tmp_path, 3), np.random.default_rng(0)
    values = (rng.random((3, 3)) * [1, 1e4, 1e-4]).astype(np.float32)
    for step, value in enumerate(values):
        network = Toy()
        network.weight.data = torch.from_numpy(value)
        best.offer(step, {"loss": 0.0}, network)
    expected = values.astype(np.float64).mean(0).astype(np.float32)
    assert np.array_equal(best.mean(Toy()).weight.detach().numpy(), expected)


def test_a_step_that_is_done_again_counts_once(tmp_path: Path) -> None:
    best = Best(tmp_path, 2)
    for step in (4, 8, 8):
        best.offer(step, {"loss": -step}, toy(step))
    assert [kept.step for kept in best.kept] == [8, 4]


def test_none_are_kept_if_none_are_wanted(tmp_path: Path) -> None:
    best = Best(tmp_path / "best", 0)
    assert not best.offer(1, {"loss": 1.0}, toy(1))
    assert not (tmp_path / "best").exists()


def test_the_score_is_the_loss_or_the_mean() -> None:
    assert score_of({"loss": 2.0, "overall": 90.0}) == 2.0
    assert score_of({"drums": -4.0, "bass": -6.0}) == -5.0


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


# --- the log and its picture


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


def test_a_run_draws_its_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    loop.train(ToyTask(tmp_path))
    curve = (tmp_path / "curve.png").read_bytes()
    assert curve.startswith(b"\x89PNG")
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "dev": {"a": 1.0, "b": 2.0}}\n{"st')
    assert draw_curve(tmp_path) == tmp_path / "curve.png"
    assert (tmp_path / "curve.png").read_bytes() not in (curve, b"")
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_no_curve_without_a_log_or_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert draw_curve(tmp_path) is None
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw_curve(tmp_path) is None
    assert not (tmp_path / "curve.png").exists()


# --- what a full disk does


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


# --- the clock, and torch.compile


def test_the_rate_fades_over_the_last_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
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


def test_blocks_are_compiled_or_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    blocks = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    loop._compile(nn.ModuleDict({"first": nn.Linear(1, 1), "blocks": blocks}))
    assert compiled == list(blocks)
    loop.train(ToyTask(tmp_path), pace=Pace(compile=True))
    assert isinstance(compiled[2], Toy)
