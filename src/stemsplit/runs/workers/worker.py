"""One job in a worker: what happens is told to the driver, and whatever goes wrong can travel there."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from stemsplit.errors import in_words
from stemsplit.runs.jobs import Job, Work
from stemsplit.runs.workers.mirror import attempt
from stemsplit.runs.workers.scheduler import Ended, News, Progressed, Started, Task, Warned

SECONDS_BETWEEN = 0.2
"""Of progress that is told."""


class Telling:
    """Tells the driver what happens to a job; see `jobs.Watcher`."""

    def __init__(self, tell: Callable[[News], object], check: Callable[[], object]) -> None:
        self._tell, self._check = tell, check
        self._told = 0.0

    def on_start(self, job: Job, seconds: float | None) -> None:
        """Tell it."""
        self._tell(Started(seconds))

    def on_progress(self, job: Job, seconds: float) -> None:
        """Tell it from time to time, and stop where the driver wants that."""
        self._check()
        if time.monotonic() - self._told >= SECONDS_BETWEEN:
            self._told = time.monotonic()
            self._tell(Progressed(seconds))

    def on_warning(self, job: Job, text: str) -> None:
        """Tell it."""
        self._tell(Warned(text))


def work_on(task: Task, work: Work, tell: Callable[[News], object], check: Callable[[], object]) -> Ended:
    """Do one job, whatever happens in it; `check` raises where the driver wants no more of it."""
    outcome = attempt(task.job, work, Telling(tell, check), began=task.began, waited=task.waited)
    if outcome is not None and isinstance(outcome.error, Exception):
        outcome = replace(outcome, error=portable(outcome.error))
    return Ended(outcome)


def portable(error: Exception) -> Exception:
    """Return an error that can be pickled, with its traceback as a note."""
    told = "".join(traceback.format_exception(error)).rstrip("\n")
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # what other libraries raise may not be made of its arguments
        copy = RuntimeError(in_words(error))
    if type(copy) is not type(error) or str(copy) != str(error):
        copy = RuntimeError(in_words(error))
    vars(copy)["__notes__"] = [f"In the worker:\n{told}"]  # Python 3.11 and newer show it
    return copy
