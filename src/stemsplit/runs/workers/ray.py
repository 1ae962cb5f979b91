"""Workers that are actors of a Ray cluster: one per GPU, or per some cores, each with a network of its own.

Actors are told paths, and answer with rows of manifests: audio goes through the folders that all machines share. Ray
itself repeats nothing. The scheduler counts the attempts, and a new actor takes the place of a lost one.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stemsplit.errors import UsageError, WorkerError
from stemsplit.files.manifest import output_paths
from stemsplit.machine.signals import Terminated, signals_wait
from stemsplit.runs.jobs import Job, Outcome
from stemsplit.runs.workers.scheduler import Broken, Detail, Ended, Lost, News, Ready, Task
from stemsplit.runs.workers.worker import portable, work_on

if TYPE_CHECKING:
    from stemsplit.runs.workers.setup import Setup

POLL_SECONDS = 0.2
LISTEN_SECONDS = 2.0
"""An actor that has nothing to say answers after so long."""
GRACE_SECONDS = 20.0
PATIENCE_SECONDS = 30.0
"""After so long without any worker, the user is told what is waited for."""
MOST_CORES = 4
"""Cores of an actor on a cluster without GPUs, unless the number of actors was chosen."""
STORE_BYTES = 80 << 20
"""Object store of a cluster that is started here: no audio goes through it."""


class Actor:
    """What runs in the cluster: loads the network once, then does one job at a time."""

    def __init__(self, setup: Setup, threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)  # PyTorch is not there yet
        self._setup, self._news = setup, queue.SimpleQueue[News]()
        self._stopped = threading.Event()

    def load(self) -> None:
        """Load the network, and say so."""
        try:
            self._work = self._setup.work(lambda text: self._news.put(Detail(text)))
        except Exception as error:
            self._news.put(Broken(portable(error)))
        else:
            self._news.put(Ready())

    def do(self, task: Task) -> None:
        """Do one job; what becomes of it is the last news."""
        with suppress(Terminated):
            self._news.put(work_on(task, self._work, self._news.put, self._check))

    def listen(self) -> list[News]:
        """Return the news, as soon as there are any, or none after a while."""
        told: list[News] = []
        with suppress(queue.Empty):
            told.append(self._news.get(timeout=LISTEN_SECONDS))
            while True:
                told.append(self._news.get_nowait())
        return told

    def stop(self) -> None:
        """Let the job at hand end soon, without traces."""
        self._stopped.set()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Terminated(128 + signal.SIGTERM)


@dataclass
class _Worker:
    actor: Any
    heard: Any  # the reference to its next news
    job: Job | None = None  # as the driver knows it
    doing: Any = None


@dataclass(frozen=True)
class _Share:
    """What every actor takes of the cluster."""

    count: int
    cores: int
    gpus: int


class Actors:
    """The actors of a cluster; see `scheduler.Crew`."""

    def __init__(
        self,
        setup: Setup,
        address: str | None,
        count: int | None,
        *,
        most: int,
        worker_bytes: int,
        warn: Callable[[str], object],
    ) -> None:
        """Connect, and start nothing yet.

        Args:
            setup: what workers are told once.
            address: of the cluster; None: one that is running, or else a new one on this machine.
            count: how many actors there are; None: one per GPU, or per some cores.
            most: how many have something to do.
            worker_bytes: memory that the cluster sets aside for each.
            warn: is told what is waited for.

        Raises:
            UsageError: Ray is not installed.
            WorkerError: there is no cluster at the address.
        """
        self._ray, self._ours = _connected(address)
        self._setup, self._bytes, self._warn = setup.absolute(), worker_bytes, warn
        self._share = _share_of(self._ray.nodes(), count, most)
        self._class = self._ray.remote(Actor)
        self._workers: dict[int, _Worker] = {}
        self._next, self._quiet_since = 0, time.monotonic()

    @property
    def described(self) -> str:
        """The actors, for a person."""
        share, nodes = self._share, sum(node["Alive"] for node in self._ray.nodes())
        each = f"{share.gpus} GPU" if share.gpus else f"{share.cores} cores"
        return f"Ray: {share.count} actors with {each} each, on {nodes} machines"

    def hand(self, worker: int, task: Task) -> None:
        """See `Crew`."""
        one = self._workers[worker]
        one.job = task.job
        one.doing = one.actor.do.remote(replace(task, job=elsewhere(task.job)))

    def news(self, wanted: int) -> Iterator[tuple[int, News]]:
        """See `Crew`."""
        while len(self._workers) < min(self._share.count, wanted):
            self._start()
        heard, _ = self._ray.wait(
            [one.heard for one in self._workers.values()],
            num_returns=len(self._workers),
            timeout=POLL_SECONDS,
            fetch_local=True,
        )
        for number, one in list(self._workers.items()):
            if one.heard in heard:
                self._quiet_since = time.monotonic()
                for news in self._hear(number, one):
                    yield number, news
        self._complain()

    def _start(self) -> None:
        actor = self._class.options(
            num_cpus=self._share.cores,
            num_gpus=self._share.gpus,
            memory=self._bytes,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=3,  # a job, its news, and a word to stop
            scheduling_strategy="SPREAD",
        ).remote(self._setup, self._share.cores)
        actor.load.remote()
        self._workers[self._next] = _Worker(actor, actor.listen.remote())
        self._next += 1

    def _hear(self, number: int, one: _Worker) -> list[News]:
        try:
            told: list[News] = self._ray.get(one.heard)
        except self._ray.exceptions.RayError as error:
            del self._workers[number]
            with suppress(Exception):
                self._ray.kill(one.actor)  # it may be only out of reach
            return [Lost(_why(error))]
        one.heard = one.actor.listen.remote()
        return [self._known(one, news) for news in told]

    def _known(self, one: _Worker, news: News) -> News:
        """Return news with the job as the driver knows it."""
        if not isinstance(news, Ended):
            return news
        job, one.job, one.doing = one.job, None, None
        return news if news.outcome is None or job is None else Ended(here(news.outcome, job))

    def _complain(self) -> None:
        if time.monotonic() - self._quiet_since > PATIENCE_SECONDS:
            self._quiet_since = time.monotonic()
            self._warn("no worker answers: waiting for the cluster to have room for one (Ctrl-C stops)")

    def close(self) -> None:
        """See `Crew`."""
        with signals_wait():
            busy = [one for one in self._workers.values() if one.doing is not None]
            for one in busy:
                one.actor.stop.remote()
            if busy:
                self._ray.wait([one.doing for one in busy], num_returns=len(busy), timeout=GRACE_SECONDS)
            for one in self._workers.values():
                with suppress(Exception):
                    self._ray.kill(one.actor)
            self._workers.clear()
            if self._ours:
                self._ray.shutdown()


def elsewhere(job: Job) -> Job:
    """Return a job with absolute paths, for a process with another current folder."""
    targets = {name: path.absolute() for name, path in job.targets.items()}
    return replace(job, source=job.source.absolute(), targets=targets, manifest=job.manifest.absolute())


def here(outcome: Outcome, job: Job) -> Outcome:
    """Return the outcome of `elsewhere(job)` as that of `job`."""
    outputs = job.targets if outcome.status == "done" else {}
    if outcome.status == "skipped" and outcome.manifest:
        outputs = output_paths(job.manifest, outcome.manifest)
    return replace(outcome, job=job, outputs=outputs)


def _share_of(nodes: list[dict[str, Any]], count: int | None, most: int) -> _Share:
    """Share out the machines of a cluster, as Ray describes them."""
    alive = [node.get("Resources", {}) for node in nodes if node.get("Alive")]
    gpus = int(sum(node.get("GPU", 0) for node in alive))
    cores = [int(node.get("CPU", 0)) for node in alive if node.get("CPU", 0) >= 1]
    if gpus:
        wanted = count or gpus
        return _Share(max(1, min(wanted, most)), max(1, min(MOST_CORES, sum(cores) // max(1, wanted))), 1)
    if count:
        each = max(1, min(sum(cores) // count, max(cores, default=1)))
        return _Share(max(1, min(count, most)), each, 0)
    each = max(1, min(MOST_CORES, max(cores, default=1)))
    return _Share(max(1, min(sum(one // each for one in cores), most)), each, 0)


def _why(error: Exception) -> str:
    """Say for a person how an actor was lost."""
    if "creation task" in str(error):  # what it says last is why: a package that is missing there, for example
        return str(error).strip().splitlines()[-1].strip()
    kind, text = type(error).__name__, " ".join(str(error).split())
    if kind == "OutOfMemoryError":
        return "its machine ran out of memory"
    if kind == "ActorUnavailableError":  # soon after a machine has gone, nobody knows that yet
        return "its machine does not answer"
    if any(sign in text for sign in ("node has died", "node was terminated", "node failure")):
        return "its machine is gone"
    return "its process died" if "died" in text or "dead" in text else f"{kind}: {text[:200]}"


def _connected(address: str | None) -> tuple[Any, bool]:
    """Return Ray, connected, and whether the connection is ours to end. Raises: UsageError, WorkerError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs Ray: pip install 'stemsplit-mamba[ray]'") from error
    if ray.is_initialized():
        return ray, False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    with _own_signals():
        try:
            ray.init(address=address or "auto", **quiet)
        except Exception as error:
            if address is not None:
                raise WorkerError(f"--ray-address {address}: no cluster answers there: {_first_line(error)}") from error
            try:
                ray.init(address="local", include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
            except Exception as local:
                raise WorkerError(f"Ray cannot be started here: {_first_line(local)}") from local
    return ray, True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our handlers of signals: Ray puts one of its own in their place."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
