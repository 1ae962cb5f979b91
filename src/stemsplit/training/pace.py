"""How a run goes on one machine: for how long, on how many threads, and what its clock says."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from stemsplit.training.task import Event


class Pace(NamedTuple):
    """How a run goes on one machine. None of it belongs in a recipe."""

    minutes: float | None = None
    """Stop after this many; None: run to the last step."""
    decay_minutes: float = 0.0
    """Let the learning rate fall to zero over the last of the minutes, wherever the schedule is by then."""
    loaders: int | None = None
    """Threads that draw examples ahead; None: as many as `prefetch.threads_for` says."""
    compile: bool = False
    """Compile the network with torch.compile, which takes minutes at first. It pays on a GPU, and on a CPU for S4M."""


class Clock:
    """The time since a run began, without the time in which its process was stopped (SIGSTOP, then SIGCONT).

    A process cannot know when it is stopped, only when it goes on. So what it did between `tick` and the stop is left
    out too: at most a step.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        """Start, with the minutes of a pace."""
        pace = pace or Pace()
        self._decay_seconds = 60 * pace.decay_minutes
        self._seconds = 60 * pace.minutes if pace.minutes else float("inf")
        self._began = self._ticked = time.monotonic()
        self._lost = 0.0

    def now(self) -> float:
        """Return the seconds since the start in which the process was not stopped."""
        return time.monotonic() - self._began - self._lost

    def tick(self) -> None:
        """Say that the process is running; called at every step."""
        self._ticked = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the run's minutes have passed."""
        return self.now() > self._seconds

    def fade(self) -> float:
        """Return the factor of the schedule's learning rate: 1, then down to 0 over the last `decay_minutes`."""
        if not self._decay_seconds:
            return 1.0
        return min(1.0, max(self._seconds - self.now(), 0.0) / self._decay_seconds)

    @contextmanager
    def minding_stops(self) -> Iterator[None]:
        """Leave out what is lost to stops during the block. Only a main thread is told of them, and none on Windows."""
        if not hasattr(signal, "SIGCONT") or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGCONT, self._go_on)
        try:
            yield
        finally:
            signal.signal(signal.SIGCONT, before)

    def _go_on(self, *_: Any) -> None:
        self._lost += time.monotonic() - self._ticked
        self.tick()


class Meter:
    """The mean loss since the last reading, and the seconds of audio trained on per second."""

    def __init__(self, audio_per_step: float, clock: Clock) -> None:
        """Measure steps of so many seconds of audio by a clock."""
        self._audio_per_step, self._clock = audio_per_step, clock
        self._losses: list[float] = []
        self._since = clock.now()

    def add(self, loss: float) -> None:
        """Count one step."""
        self._losses.append(loss)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time that the block takes."""
        began = self._clock.now()
        yield
        self._since += self._clock.now() - began

    def read(self, step: int) -> Event:
        """Return the event of `step`, and begin anew. `hours` of audio are those of all steps."""
        loss, audio = float(np.mean(self._losses)), len(self._losses) * self._audio_per_step
        rate = audio / max(self._clock.now() - self._since, 1e-9)
        hours = step * self._audio_per_step / 3600
        self._losses, self._since = [], self._clock.now()
        return {"step": step, "loss": round(loss, 4), "audio_per_second": round(rate, 2), "hours": round(hours, 3)}
