"""Every job has one outcome, whatever becomes of its workers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from crews import Script, job_named

from stemsplit.errors import DecodeError, UsageError, WorkerError
from stemsplit.runs.jobs import Job, Outcome
from stemsplit.runs.workers.scheduler import (
    ATTEMPTS,
    Broken,
    Detail,
    Ended,
    Lost,
    News,
    Progressed,
    Started,
    Task,
    Warned,
    run_among,
)


def done(task: Task) -> list[News]:
    return [Started(1.0), Progressed(0.5), Warned("so so"), Ended(Outcome(task.job, "done", task.job.targets))]


class Noted:
    def __init__(self) -> None:
        self.said: list[tuple[str, str, Any]] = []

    def on_start(self, job: Job, seconds: float | None) -> None:
        self.said.append(("start", job.track, seconds))

    def on_progress(self, job: Job, seconds: float) -> None:
        self.said.append(("progress", job.track, seconds))

    def on_warning(self, job: Job, text: str) -> None:
        self.said.append(("warning", job.track, text))


def test_every_job_ends_once_and_its_watcher_hears_of_it(tmp_path: Path) -> None:
    crew, noted = Script(done), Noted()
    jobs = [job_named(str(n), tmp_path) for n in range(7)]
    outcomes = list(run_among(jobs, crew, noted))
    assert sorted(outcome.track for outcome in outcomes) == list("0123456")
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert Counter(kind for kind, _, _ in noted.said) == {"start": 7, "progress": 7, "warning": 7}
    assert crew.closed


def test_what_cannot_be_done_reaches_no_worker(tmp_path: Path) -> None:
    crew = Script(done)
    jobs = [
        job_named("wrong", tmp_path, error=UsageError("wrong: no")),
        job_named("made", tmp_path, made=True),
        job_named("good", tmp_path),
    ]
    outcomes = {outcome.track: outcome.status for outcome in run_among(jobs, crew)}
    assert outcomes == {"wrong": "failed", "made": "skipped", "good": "done"}
    assert [task.job.track for task in crew.tasks] == ["good"]


def test_a_job_whose_worker_is_lost_is_tried_again_and_given_up_in_the_end(tmp_path: Path) -> None:
    def answer(task: Task) -> list[News]:
        tries = sum(one.job == task.job for one in crew.tasks)
        if task.job.track == "poison" or (task.job.track == "once" and tries == 1):
            return [Started(1.0), Lost("killed by signal 9")]
        return done(task)

    crew, noted = Script(answer, count=3), Noted()
    jobs = [job_named(name, tmp_path) for name in ("poison", "a", "once", "b")]
    outcomes = {outcome.track: outcome for outcome in run_among(jobs, crew, noted)}
    assert {name: one.status for name, one in outcomes.items()} == {
        "poison": "failed", "a": "done", "once": "done", "b": "done",
    }  # fmt: skip
    assert isinstance(outcomes["poison"].error, WorkerError)
    assert "poison.wav: given up, since its worker was lost 3 times (killed by signal 9)" in outcomes["poison"].message
    assert outcomes["once"].attempts == 2
    assert outcomes["once"].warnings[0] == "its worker was lost (killed by signal 9), so it is tried again"
    assert Counter(task.job.track for task in crew.tasks) == {"poison": ATTEMPTS, "a": 1, "once": 2, "b": 1}
    assert ("warning", "once", outcomes["once"].warnings[0]) in noted.said


def test_a_track_that_another_run_is_at_comes_last(tmp_path: Path) -> None:
    def answer(task: Task) -> list[News]:
        busy = task.job.track == "busy" and sum(one.job == task.job for one in crew.tasks) < 3
        return [Ended(None)] if busy else done(task)

    crew = Script(answer, count=1)
    outcomes = list(run_among([job_named(name, tmp_path) for name in ("busy", "a", "b")], crew))
    assert [outcome.track for outcome in outcomes] == ["a", "b", "busy"]
    assert [task.waited for task in crew.tasks if task.job.track == "busy"] == [False, True, True]


def test_workers_that_cannot_begin_end_the_run(tmp_path: Path) -> None:
    class Dying(Script):
        def news(self, wanted: int) -> Any:
            for worker, news in super().news(wanted):
                self._alive.discard(worker)
                yield worker, Lost("it ended with exit code 3") if type(news).__name__ == "Ready" else news

    crew = Dying(done)
    with pytest.raises(WorkerError, match="workers end before they begin"):
        list(run_among([job_named("a", tmp_path)], crew))
    assert crew.closed

    broken = Script(lambda task: [Broken(DecodeError("no model"))])
    with pytest.raises(DecodeError, match="no model"):
        list(run_among([job_named("a", tmp_path)], broken))


def test_a_reader_that_stops_ends_the_workers(tmp_path: Path) -> None:
    crew, details = Script(lambda task: [Detail("so"), *done(task)]), list[str]()
    outcomes = run_among([job_named(str(n), tmp_path) for n in range(5)], crew, None, details.append)
    next(outcomes)
    outcomes.close()
    assert crew.closed
    assert details
