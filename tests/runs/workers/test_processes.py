"""Real processes: killed, poisoned, told to end, left alone."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from crews import TextSetup, job_named
from tiny import files_in

from stemsplit.errors import DecodeError, WorkerError
from stemsplit.options import SeparateOptions
from stemsplit.runs.jobs import Job
from stemsplit.runs.workers.processes import Processes, visible_gpus
from stemsplit.runs.workers.scheduler import run_among

posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def crew_of(output: Path, count: int = 2, broken: str = "") -> Processes:
    return Processes(TextSetup(SeparateOptions(output=output), broken), count, threads=2)


@posix
def test_a_poisoned_file_is_given_up_and_the_rest_is_done(tmp_path: Path) -> None:
    output = tmp_path / "out"
    names = ["a", "bad", "odd", "once", "poison", "b"]
    outcomes = {o.track: o for o in run_among([job_named(n, output) for n in names], crew_of(output))}
    assert {name: one.status for name, one in outcomes.items()} == {
        "a": "done", "b": "done", "once": "done", "bad": "failed", "odd": "failed", "poison": "failed",
    }  # fmt: skip
    assert isinstance(outcomes["poison"].error, WorkerError)
    assert "killed by signal 9" in outcomes["poison"].message
    assert outcomes["once"].attempts == 2
    assert outcomes["bad"].message == "bad.wav: not audio"
    assert isinstance(outcomes["bad"].error, DecodeError)
    assert "unexpected OddError: 1 and 2" in outcomes["odd"].message
    assert outcomes["a"].warnings == ("a is warned of",)
    done = {(output / name / "text").read_text() for name in ("a", "b", "once")}
    assert str(os.getpid()) not in done


class Impatient:
    """Presses Ctrl-C when a long job has begun."""

    def __init__(self, crew: Processes) -> None:
        self.crew, self.processes, self.pressed = crew, list[SpawnProcess](), 0.0

    def on_start(self, job: Job, seconds: float | None) -> None:
        pass

    def on_progress(self, job: Job, seconds: float) -> None:
        if "long" in job.track and seconds > 0.5:
            self.processes = [worker.process for worker in self.crew._workers.values()]
            self.pressed = time.monotonic()
            raise KeyboardInterrupt

    def on_warning(self, job: Job, text: str) -> None:
        pass


@posix
def test_workers_end_with_the_run_and_leave_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out"
    crew = crew_of(output)
    watcher = Impatient(crew)
    jobs = [job_named(name, output) for name in ("a", "long", "long 2")]
    with pytest.raises(KeyboardInterrupt):
        list(run_among(jobs, crew, watcher))
    assert time.monotonic() - watcher.pressed < 25
    assert watcher.processes
    assert not any(process.is_alive() for process in watcher.processes)
    assert {name for name in files_in(output) if not name.endswith(".begun")} == {"a", "a/text", "a/stemsplit.json"}


def test_a_worker_that_cannot_load_its_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="no such model"):
        list(run_among([job_named("a", tmp_path)], crew_of(tmp_path, 1, "no such model")))


def test_workers_have_their_part_of_threads_and_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Processes(TextSetup(SeparateOptions(output=tmp_path)), 4, threads=6, gpus=2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert crew._variables(3) == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-ab")
    assert [crew._variables(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(4)] == ["5", "GPU-ab", "5", "GPU-ab"]
    assert visible_gpus("3", 2) == ["0", "1"]


@posix
def test_ctrl_c_of_the_terminal_is_left_to_the_driver(tmp_path: Path) -> None:
    crew = crew_of(tmp_path, 1)
    outcomes = run_among([job_named(str(n), tmp_path) for n in range(3)], crew)
    next(outcomes)
    (worker,) = crew._workers.values()
    assert worker.process.pid is not None
    os.kill(worker.process.pid, signal.SIGINT)
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
