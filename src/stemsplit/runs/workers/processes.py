"""Workers that are processes of this machine, each with a network of its own and its part of the threads.

A worker talks to the driver through a pipe. It leaves when the driver closes the pipe or dies, and is ended by SIGTERM.
Ctrl-C reaches all processes of a terminal: workers leave it to the driver.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Lock
from typing import TYPE_CHECKING

from stemsplit.machine.memory import keep_freed_memory
from stemsplit.machine.signals import Terminated, check, interruptible, signals_wait
from stemsplit.runs.workers.scheduler import Broken, Detail, Ended, Lost, News, Ready, Task
from stemsplit.runs.workers.worker import portable, work_on

if TYPE_CHECKING:
    from stemsplit.runs.workers.setup import Setup

POLL_SECONDS = 0.2
"""The driver waits so long at most, so that it hears a signal and sees what is due."""
GRACE_SECONDS = 20.0
"""A worker that is told to end and does not is killed after so long."""
GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    slot: int
    idle: bool = False


class Processes:
    """So many processes; see `scheduler.Crew`."""

    def __init__(self, setup: Setup, count: int, *, threads: int, gpus: int = 0) -> None:
        """Start nothing yet.

        Args:
            setup: what workers are told once.
            count: how many there are at most.
            threads: of all workers together.
            gpus: how many there are to share out; 0 if the device was chosen, or is none.
        """
        self._setup, self._count, self._gpus = setup, count, gpus
        self._threads = max(1, threads // count)
        self._workers: dict[int, _Worker] = {}
        self._next = 0
        self._context = multiprocessing.get_context("spawn")  # forks of a process with threads and GPUs may hang

    def hand(self, worker: int, task: Task) -> None:
        """See `Crew`."""
        self._workers[worker].idle = False
        with suppress(OSError):  # it is gone, which is the next news
            self._workers[worker].connection.send(task)

    def news(self, wanted: int) -> Iterator[tuple[int, News]]:
        """See `Crew`."""
        while len(self._workers) < min(self._count, wanted):
            self._start()
        heard = wait([worker.connection for worker in self._workers.values()], POLL_SECONDS)
        for number, worker in list(self._workers.items()):
            if worker.connection in heard:
                yield number, self._hear(number, worker)

    def _hear(self, number: int, worker: _Worker) -> News:
        try:
            news: News = worker.connection.recv()
        except Exception:  # the end of the pipe, or of half a message
            del self._workers[number]
            return Lost(_end_of(worker))
        worker.idle = isinstance(news, (Ready, Ended))
        return news

    def _start(self) -> None:
        slot = min(set(range(self._count)) - {worker.slot for worker in self._workers.values()})
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve, args=(theirs, self._setup), daemon=True, name=f"stemsplit worker {slot + 1}"
        )
        with _ctrl_c_blocked(), _environment(self._variables(slot)):
            process.start()
        theirs.close()
        self._workers[self._next] = _Worker(process, ours, slot)
        self._next += 1

    def _variables(self, slot: int) -> dict[str, str]:
        variables = {"OMP_NUM_THREADS": str(self._threads), "MKL_NUM_THREADS": str(self._threads)}
        if self._gpus:
            variables[GPU_VARIABLE] = visible_gpus(os.environ.get(GPU_VARIABLE), self._gpus)[slot % self._gpus]
        return variables

    def close(self) -> None:
        """See `Crew`."""
        with signals_wait():
            for worker in self._workers.values():
                if worker.idle:
                    with suppress(OSError):
                        worker.connection.send(None)
                else:
                    worker.process.terminate()
            end = time.monotonic() + GRACE_SECONDS
            for worker in self._workers.values():
                worker.process.join(max(0.0, end - time.monotonic()))
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()
                worker.connection.close()
            self._workers.clear()


def visible_gpus(stated: str | None, count: int) -> Sequence[str]:
    """Return the names of `count` GPUs as CUDA_VISIBLE_DEVICES has them, which may be set already."""
    named = [name.strip() for name in stated.split(",")] if stated else []
    return named if len(named) == count else [str(index) for index in range(count)]


def _end_of(worker: _Worker) -> str:
    """Say how a worker ended."""
    worker.connection.close()
    worker.process.join(GRACE_SECONDS)
    code = worker.process.exitcode
    if code is None:
        worker.process.kill()
        return "it went silent"
    if code == -signal.SIGTERM:
        return "it was told to end"
    if code < 0:
        memory = ", as when memory runs out" if code == -9 else ""
        return f"killed by signal {-code}{memory}"
    return f"it ended with exit code {code}"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Let processes that are started in the block hear no Ctrl-C, also while they start. It is kept for this one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its own start would end the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the worker


def serve(connection: Connection, setup: Setup) -> None:
    """Work for the driver at the other end of a pipe, until it wants no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(Terminated, EOFError, OSError), interruptible():
        _serve(connection, setup)


def _serve(connection: Connection, setup: Setup) -> None:
    alone = Lock()  # warnings may come from the thread that decodes

    def tell(news: News) -> None:
        with alone:
            connection.send(news)

    def stop_if_left() -> None:
        check()
        if connection.poll():  # while there is a job, the driver says nothing: it is gone
            raise Terminated(128 + signal.SIGTERM)

    keep_freed_memory()
    try:
        work = setup.work(lambda text: tell(Detail(text)))
    except Exception as error:
        tell(Broken(portable(error)))
        return
    tell(Ready())
    while (task := connection.recv()) is not None:
        tell(work_on(task, work, tell, stop_if_left))
