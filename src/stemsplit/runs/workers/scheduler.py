"""Jobs → workers → outcomes. A job whose worker is lost is tried again, and given up after three attempts.

The scheduler knows what is done and how often it was tried; workers know one job at a time. Nothing else is kept: after
a stop, manifests say what is done.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from stemsplit.errors import WorkerError
from stemsplit.machine.disk import POLL_SECONDS
from stemsplit.runs.jobs import Job, Outcome, Watcher, failed, skipped

ATTEMPTS = 3
"""How often a job is begun whose worker is lost."""
FRUITLESS = 3
"""After so many workers in a row that were lost before they were ready, no other is tried."""


@dataclass(frozen=True)
class Task:
    """A job on its way to a worker. `began`: when the run did, in seconds since 1970; `waited`: it was busy before."""

    job: Job
    began: float
    waited: bool = False


# --- what a worker says


@dataclass(frozen=True)
class Ready:
    """It has loaded its network and waits for a job."""


@dataclass(frozen=True)
class Started:
    """The work on its job has begun; `seconds` of audio where the file says."""

    seconds: float | None


@dataclass(frozen=True)
class Progressed:
    """So many seconds of audio are done."""

    seconds: float


@dataclass(frozen=True)
class Warned:
    """What was put right on the way."""

    text: str


@dataclass(frozen=True)
class Detail:
    """What only some want to know."""

    text: str


@dataclass(frozen=True)
class Ended:
    """What became of its job; None if another run is at that track."""

    outcome: Outcome | None


@dataclass(frozen=True)
class Broken:
    """It cannot begin: the network cannot be loaded there."""

    error: Exception


@dataclass(frozen=True)
class Lost:
    """It is no more. `why` says how it went, for a person: "killed by signal 9"."""

    why: str


News = Ready | Started | Progressed | Warned | Detail | Ended | Broken | Lost


class Crew(Protocol):
    """The workers of a run, by their numbers. A lost one is replaced by the crew, under a new number."""

    def hand(self, worker: int, task: Task) -> None:
        """Give a worker that is ready its next task."""

    def news(self, wanted: int) -> Iterator[tuple[int, News]]:
        """Yield what workers say, after a short wait at most. Keep no more of them than `wanted`."""

    def close(self) -> None:
        """End all workers; what they are at is left undone, without traces."""


@dataclass
class _Tried:
    """A task, what its lost workers said, and when it may begin."""

    task: Task
    losses: list[str] = field(default_factory=list)
    due: float = 0.0


class _Run:
    """The state of one run."""

    def __init__(
        self, jobs: Iterable[Job], crew: Crew, watcher: Watcher | None, on_detail: Callable[[str], object]
    ) -> None:
        began = time.time()
        self.waiting = deque(_Tried(Task(job, began)) for job in jobs)
        self.working: dict[int, _Tried] = {}
        self._idle: list[int] = []
        self._fruitless = 0
        self._crew, self._watcher, self._on_detail = crew, watcher, on_detail

    def hand_out(self) -> None:
        """Give idle workers what is due."""
        while self._idle and self.waiting and self.waiting[0].due <= time.monotonic():
            worker = self._idle.pop()
            self.working[worker] = self.waiting.popleft()
            self._crew.hand(worker, self.working[worker].task)

    def take(self, worker: int, news: News) -> Outcome | None:
        """Take in what a worker says. Return an outcome if a job has ended by it."""
        if isinstance(news, Ready):
            self._idle.append(worker)
            self._fruitless = 0
        elif isinstance(news, Ended):
            tried = self.working.pop(worker)
            self._idle.append(worker)
            return self._ended(tried, news.outcome)
        elif isinstance(news, Lost):
            return self._lost(worker, news.why)
        elif isinstance(news, Broken):
            raise news.error
        elif isinstance(news, Detail):
            self._on_detail(news.text)
        elif worker in self.working and self._watcher is not None:
            self._pass_on(self.working[worker].task.job, news, self._watcher)
        return None

    def _pass_on(self, job: Job, news: News, watcher: Watcher) -> None:
        if isinstance(news, Started):
            watcher.on_start(job, news.seconds)
        elif isinstance(news, Progressed):
            watcher.on_progress(job, news.seconds)
        elif isinstance(news, Warned):
            watcher.on_warning(job, news.text)

    def _ended(self, tried: _Tried, outcome: Outcome | None) -> Outcome | None:
        if outcome is None:
            tried.task, tried.due = replace(tried.task, waited=True), time.monotonic() + POLL_SECONDS
            self.waiting.append(tried)
            return None
        return replace(
            outcome,
            job=tried.task.job,
            warnings=(*tried.losses, *outcome.warnings),
            attempts=len(tried.losses) + 1,
        )

    def _lost(self, worker: int, why: str) -> Outcome | None:
        if worker in self._idle:
            self._idle.remove(worker)
        tried = self.working.pop(worker, None)
        if tried is None:
            self._fruitless += 1
            if self._fruitless >= FRUITLESS:
                raise WorkerError(f"workers end before they begin ({why}): try fewer --jobs")
            return None
        job = tried.task.job
        if len(tried.losses) + 1 >= ATTEMPTS:
            error = WorkerError(f"{job.called}: given up, since its worker was lost {ATTEMPTS} times ({why})")
            return replace(failed(job, error, warnings=tried.losses), attempts=ATTEMPTS)
        tried.losses.append(f"its worker was lost ({why}), so it is tried again")
        if self._watcher is not None:
            self._watcher.on_warning(job, tried.losses[-1])
        self.waiting.append(tried)
        return None


def run_among(
    jobs: Iterable[Job],
    crew: Crew,
    watcher: Watcher | None = None,
    on_detail: Callable[[str], object] = lambda text: None,
) -> Generator[Outcome, None, None]:
    """Work through the jobs with a crew, and yield an outcome for each as it ends; see `jobs.run`.

    Raises:
        WorkerError: no worker lives long enough to begin.
        StemsplitError: a worker cannot load the model.
    """
    planned = list(jobs)
    for job in planned:
        if job.error is not None:
            yield failed(job, job.error)
        elif job.made:
            yield skipped(job)
    run = _Run((job for job in planned if job.error is None and not job.made), crew, watcher, on_detail)
    try:
        while left := len(run.waiting) + len(run.working):
            run.hand_out()
            for worker, news in crew.news(left):
                outcome = run.take(worker, news)
                if outcome is not None:
                    yield outcome
    finally:
        crew.close()
