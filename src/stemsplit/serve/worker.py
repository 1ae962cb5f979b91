"""The thread that works on the songs of a queue, one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from stemsplit.errors import AudioError, StemsplitError, in_words
from stemsplit.files.inputs import Input
from stemsplit.machine.disk import POLL_SECONDS
from stemsplit.runs.jobs import Job, Outcome, Work, attempt
from stemsplit.runs.player import page_path
from stemsplit.runs.separate import plan, work_for
from stemsplit.serve.library import address_of
from stemsplit.serve.queue import JobRecord, Queue
from stemsplit.serve.requests import Models


class CancelledError(StemsplitError):
    """A client does not want the song any more."""


class StoppingError(StemsplitError):
    """The server ends; the song waits for the next one."""


class Worker:
    """Works on the songs of a queue in a thread of its own; a context manager, which waits for it in the end.

    Args:
        queue: the songs.
        models: what separates them.
        longest_seconds: longer songs fail.
        on_outcome: told what became of a song, in the thread.
    """

    def __init__(
        self,
        queue: Queue,
        models: Models,
        longest_seconds: float = float("inf"),
        on_outcome: Callable[[JobRecord, Outcome | None], object] = lambda job, outcome: None,
    ) -> None:
        self._queue, self._models = queue, models
        self._longest, self._on_outcome = longest_seconds, on_outcome
        self._thread = threading.Thread(target=self._run, name="stemsplit-worker", daemon=True)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._queue.close()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._queue.take()) is not None:
            outcome = None
            try:
                outcome = self._separate(job)
                ended = self._end(job, outcome)
            except StoppingError:
                self._queue.end(job.number, "queued", started=None, done_seconds=0.0)
                return
            except CancelledError:
                ended = self._queue.end(job.number, "cancelled")
            except Exception as error:  # whatever it is, the next song has its turn
                ended = self._queue.end(job.number, "failed", error=in_words(error))
            self._on_outcome(ended, outcome)

    def _separate(self, record: JobRecord) -> Outcome:
        options = record.request.options(self._queue.output, self._models.device)
        separator = self._models.separator(self._models.offer(record.request).reference, options)
        (job,) = plan([Input(self._queue.source(record), record.track, record.name)], separator, options)
        work, watcher = work_for(separator, options), _Watcher(self._queue, record.number, self._longest)
        began, outcome = time.time(), None
        while outcome is None:
            outcome = self._attempt(job, work, watcher, began)
        if isinstance(outcome.error, (CancelledError, StoppingError)):
            raise outcome.error
        return outcome

    def _attempt(self, job: Job, work: Work, watcher: _Watcher, began: float) -> Outcome | None:
        """Do a job; None if another process is at its track, which is waited for."""
        watcher.check()
        outcome = attempt(job, work, watcher, began=began, waited=watcher.waited)
        if outcome is None:
            watcher.waited = True
            time.sleep(POLL_SECONDS)
        return outcome

    def _end(self, record: JobRecord, outcome: Outcome) -> JobRecord:
        number, warnings = record.number, list(outcome.warnings)
        if outcome.error is not None:
            return self._queue.end(number, "failed", error=outcome.message, warnings=warnings)
        output = self._queue.output
        page = page_path(outcome.job.manifest)
        seconds = outcome.audio_seconds or record.seconds
        return self._queue.end(
            number,
            "done",
            warnings=warnings,
            seconds=seconds,
            done_seconds=seconds or 0.0,
            page=address_of(output, page),
            outputs={name: address_of(output, Path(path)) for name, path in outcome.outputs.items()},
        )


class _Watcher:
    """Passes on to the queue what happens to a song, and stops it when that is wanted."""

    def __init__(self, queue: Queue, number: int, longest_seconds: float) -> None:
        self._queue, self._number, self._longest = queue, number, longest_seconds
        self.waited = False

    def check(self) -> None:
        """Raise what ends the song early. Raises: CancelledError, StoppingError."""
        if self._queue.is_cancelled(self._number):
            raise CancelledError("cancelled")
        if not self._queue.is_open:
            raise StoppingError("the server ends")

    def on_start(self, job: Job, seconds: float | None) -> None:
        """Learn how long the song is."""
        self.check()
        if seconds:
            self._queue.progress(self._number, seconds=seconds)

    def on_progress(self, job: Job, seconds: float) -> None:
        """Learn how far it is. Raises: CancelledError, StoppingError; AudioError if the song is too long."""
        self.check()
        if seconds > self._longest:  # of a file that does not say how long it is
            raise AudioError(f"longer than {self._longest / 60:g} minutes, the most that this server takes")
        self._queue.progress(self._number, done_seconds=seconds)

    def on_warning(self, job: Job, text: str) -> None:
        """Learn what was put right; the outcome has it, too."""
