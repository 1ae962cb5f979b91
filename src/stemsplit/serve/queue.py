"""The queue: songs that wait, are worked on, or are over, each with a number.

It is a hidden folder of the output folder, so that a server that is started again goes on:

    separated/.queue/7/job.json     what is known of song 7
    separated/.queue/7/song.mp3     its upload, until the song is over

What is done is in the output folder itself. Other threads may call everything here.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from stemsplit.errors import OutputError, StemsplitError, UsageError, reason
from stemsplit.machine.disk import sha256_of, write_whole
from stemsplit.serve.requests import Request
from stemsplit.serve.uploads import Waiting, free_track, safe_name

FOLDER_NAME = ".queue"
RECORD_NAME = "job.json"
MOST_WAITING = 500
"""Songs that may wait."""
MOST_OVER = 200
"""Songs that are over and still remembered; their stems stay, whatever becomes of this."""
State = Literal["queued", "running", "done", "failed", "cancelled"]
OVER = ("done", "failed", "cancelled")


class QueueFullError(StemsplitError):
    """Too many songs wait."""


class NoSuchJobError(StemsplitError):
    """A number that no job has."""


class NotNowError(StemsplitError):
    """A job is not in a state for what is asked."""


class JobRecord(BaseModel):
    """One song and what is wanted of it.

    Times are in seconds since 1970, `seconds` and `done_seconds` are of its audio. `page` and `outputs` are addresses
    on this server, once it is done.
    """

    number: int = Field(ge=1)
    name: str
    request: Request
    state: State = "queued"
    track: str
    created: float
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    done_seconds: float = 0.0
    warnings: list[str] = []
    error: str | None = None
    page: str | None = None
    outputs: dict[str, str] = {}
    sha256: str
    upload: str

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in OVER


class Queue:
    """All jobs. `version` grows with every change.

    Args:
        output: the output folder.
        on_warning: told what is wrong with a record that is there.
    """

    def __init__(self, output: Path, on_warning: Callable[[str], object] = lambda text: None) -> None:
        self.output, self.folder = output, output / FOLDER_NAME
        self.version = 0
        self._changed = threading.Condition()
        self._jobs: dict[int, JobRecord] = {}
        self._versions: dict[int, int] = {}
        self._cancelled: set[int] = set()
        self._open = True
        with self._changed:
            for job in _read_all(self.folder, on_warning):
                self._put(job)
        self._last = max((int(place.name) for place in _numbered(self.folder)), default=0)

    def new_folder(self) -> tuple[int, Path]:
        """Return a new number, and its folder, for an upload. Raises: QueueFullError, OutputError."""
        with self._changed:
            if sum(not job.is_over for job in self._jobs.values()) >= MOST_WAITING:
                raise QueueFullError(f"{MOST_WAITING} songs wait already: try again when some are done")
            self._last += 1
            folder = self.folder / str(self._last)
            try:
                folder.mkdir(parents=True)
            except OSError as error:
                raise OutputError(f"cannot write to {folder}: {reason(error)}") from error
            return self._last, folder

    def add(self, number: int, upload: Path, name: str, request: Request, seconds: float | None) -> JobRecord:
        """Put a song whose upload is complete at the end of the queue. `name` is what its user calls it."""
        sha256 = sha256_of(upload)
        with self._changed:
            waiting = [Waiting(job.track, job.sha256) for job in self._jobs.values() if not job.is_over]
            track = free_track(self.output, safe_name(name), sha256, waiting)
            job = JobRecord(
                number=number, name=name, request=request, track=track, created=time.time(), seconds=seconds,
                sha256=sha256, upload=upload.name,
            )  # fmt: skip
            self._save(job)
            self._put(job)
            self._forget_old()
            return job

    def discard(self, number: int) -> None:
        """Take away the folder of an upload that never became a job."""
        shutil.rmtree(self.folder / str(number), ignore_errors=True)

    def all(self) -> list[JobRecord]:
        """Return all jobs, the newest first."""
        with self._changed:
            return [self._jobs[number] for number in sorted(self._jobs, reverse=True)]

    def get(self, number: int) -> JobRecord:
        """Return a job. Raises: NoSuchJobError."""
        with self._changed:
            if number not in self._jobs:
                raise NoSuchJobError(f"there is no job {number}")
            return self._jobs[number]

    def changed_since(self, version: int) -> tuple[int, list[JobRecord]]:
        """Return the version now, and the jobs that changed after `version`, the oldest first."""
        with self._changed:
            jobs = [self._jobs[number] for number in sorted(self._jobs) if self._versions[number] > version]
            return self.version, jobs

    def source(self, job: JobRecord) -> Path:
        """Return where the upload of a job is."""
        return self.folder / str(job.number) / job.upload

    # --- for the worker

    def take(self) -> JobRecord | None:
        """Wait for the next song, which is running then; None once the queue is closed."""
        with self._changed:
            while self._open:
                waiting = [number for number in sorted(self._jobs) if self._jobs[number].state == "queued"]
                if waiting:
                    return self._change(waiting[0], {"state": "running", "started": time.time(), "done_seconds": 0.0})
                self._changed.wait()
            return None

    def progress(self, number: int, **changes: Any) -> None:
        """Note how far a song is; that is not kept on disk."""
        with self._changed:
            self._put(self._jobs[number].model_copy(update=changes))

    def is_cancelled(self, number: int) -> bool:
        """Return whether somebody wants the song that is worked on to be left alone."""
        with self._changed:
            return number in self._cancelled

    @property
    def is_open(self) -> bool:
        """Whether songs are still worked on."""
        return self._open

    def end(self, number: int, state: State, **about: Any) -> JobRecord:
        """Note what became of a song. One that is queued again keeps its upload."""
        with self._changed:
            self._cancelled.discard(number)
            over = state in OVER
            job = self._change(number, {"state": state, "ended": time.time() if over else None, **about})
            if over:
                self._drop_upload(job)
            return job

    def close(self) -> None:
        """Let the worker end at once."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    # --- for clients

    def cancel(self, number: int) -> JobRecord:
        """Cancel a job that waits, or is worked on: that takes a moment. Raises: NoSuchJobError, NotNowError."""
        with self._changed:
            job = self.get(number)
            if job.is_over:
                raise NotNowError(f"job {number} is over: it is {job.state}")
            if job.state == "running":
                self._cancelled.add(number)
                return job
            job = self._change(number, {"state": "cancelled", "ended": time.time()})
            self._drop_upload(job)
            return job

    def remove(self, number: int) -> None:
        """Forget a job that is over; its stems stay. Raises: NoSuchJobError, NotNowError."""
        with self._changed:
            if not self.get(number).is_over:
                raise NotNowError(f"job {number} is not over: cancel it first")
            self._forget(number)

    # --- inside, with the lock held

    def _change(self, number: int, changes: Mapping[str, Any]) -> JobRecord:
        job = self._jobs[number].model_copy(update=changes)
        self._put(job)
        with suppress(OutputError):  # a full disk: the next start does the song again
            self._save(job)
        return job

    def _put(self, job: JobRecord) -> None:
        self.version += 1
        self._jobs[job.number] = job
        self._versions[job.number] = self.version
        self._changed.notify_all()

    def _save(self, job: JobRecord) -> None:
        write_whole(self.folder / str(job.number) / RECORD_NAME, job.model_dump_json(indent=2))

    def _drop_upload(self, job: JobRecord) -> None:
        with suppress(OSError):
            self.source(job).unlink(missing_ok=True)

    def _forget(self, number: int) -> None:
        del self._jobs[number], self._versions[number]
        self.version += 1
        shutil.rmtree(self.folder / str(number), ignore_errors=True)

    def _forget_old(self) -> None:
        over = sorted(number for number, job in self._jobs.items() if job.is_over)
        for number in over[: max(0, len(over) - MOST_OVER)]:
            self._forget(number)


def _numbered(folder: Path) -> list[Path]:
    """Return the folders of jobs; also of such that cannot be read."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((place for place in found if re.fullmatch("[0-9]{1,15}", place.name)), key=lambda one: int(one.name))


def _read_all(folder: Path, warn: Callable[[str], object]) -> Iterator[JobRecord]:
    """Yield the jobs that an earlier server left; what it was working on waits again."""
    for place in _numbered(folder):
        record = place / RECORD_NAME
        if not record.is_file():  # an upload that was cut off
            shutil.rmtree(place, ignore_errors=True)
            continue
        try:
            job = JobRecord.model_validate_json(record.read_bytes())
            if job.number != int(place.name) or job.upload != safe_name(job.upload):
                raise UsageError("it is of another job")
        except (OSError, ValidationError, UsageError) as error:
            warn(f"{record} cannot be read, and is left alone: {str(error).splitlines()[0]}")
            continue
        if job.state == "running":
            job = job.model_copy(update={"state": "queued", "started": None, "done_seconds": 0.0})
        if job.state == "queued" and not (place / job.upload).is_file():
            job = job.model_copy(update={"state": "failed", "error": f"{job.name}: its upload is gone"})
        yield job
