"""Many tracks, whatever is done to them: what was made already is skipped, and a bad one stops no other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from stemsplit import __version__
from stemsplit.audio import AudioInfo, probe
from stemsplit.audio.findings import SALVAGED
from stemsplit.audio.info import Warn
from stemsplit.errors import DamagedError, OutputError, StemsplitError, TargetCollisionError, in_words
from stemsplit.files.leftovers import claim_path, clear_for
from stemsplit.files.manifest import (
    earlier_selections,
    forget_aside,
    input_record,
    is_of,
    kept_path,
    listed_paths,
    output_paths,
    place_for,
    read_manifest,
    relative_path,
    selection_for,
    write_manifest,
)
from stemsplit.machine.claims import claimed
from stemsplit.machine.disk import POLL_SECONDS
from stemsplit.machine.together import Together
from stemsplit.options import TimeRange
from stemsplit.runs.pace import known_seconds

STDIN_NAME = "standard input"

Progress = Callable[[float], object]
"""Is told the seconds of audio that are done."""


@dataclass(frozen=True, slots=True)
class Job:
    """One track to work on: `targets` are output → file, in the order of the outputs.

    A job with an error is one that cannot be done. One that was `made` by an earlier run is left out.
    """

    source: Path
    track: str
    name: str  # the source as the user knows it
    targets: Mapping[str, Path]
    manifest: Path
    error: StemsplitError | None = None
    made: bool = False
    beside: tuple[Path, ...] = ()  # files that are written, too, and are no outputs
    mark: str | None = None  # what `places.mark_of` says of a source at an address
    known: Mapping[Path, str] | None = None  # hashes of files that are elsewhere, as far as known

    @property
    def called(self) -> str:
        """The source, for a message."""
        return STDIN_NAME if self.name == "-" else self.name

    @property
    def location(self) -> str | None:
        """Where the source lies, whatever it is called; None if it comes from a pipe."""
        if self.mark is not None:
            return self.name
        return None if self.name == "-" else os.path.realpath(self.source)


class RunOptions(Protocol):
    """What a run needs to know of the request."""

    @property
    def output(self) -> Path:
        """The folder that everything goes into."""

    @property
    def force(self) -> bool:
        """Whether to do again what is done already."""

    @property
    def audio_track(self) -> int | None:
        """Which of several sound tracks is read, from 1."""

    @property
    def salvage(self) -> bool:
        """Whether a file of which a part is missing is read as far as it goes."""

    @property
    def time_range(self) -> TimeRange | None:
        """Which part of a song is read; None: all of it."""


class Work(Protocol):
    """What is done to every track of a run."""

    @property
    def options(self) -> RunOptions:
        """The request, the same for every track."""

    def is_finished(self, job: Job) -> bool:
        """Whether the outputs of this very job are on disk already, unchanged."""

    def carry_out(self, job: Job, *, on_progress: Progress | None, on_warning: Warn) -> Mapping[str, Any]:
        """Do it, and return its manifest. Whatever it raises, it leaves nothing behind then."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job: status "done", "skipped" or "failed". `seconds`: it took; `audio_seconds`: it lasts.

    What is only foreseen may be "planned", too. `attempts`: how often it was begun, if its worker was lost.
    """

    job: Job
    status: str
    outputs: Mapping[str, Path] = field(default_factory=dict)
    manifest: Mapping[str, Any] | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: BaseException | None = None
    message: str = ""  # the error, in one line for a person
    attempts: int = 1

    @property
    def source(self) -> str:
        """The input as the user knows it."""
        return self.job.name

    @property
    def track(self) -> str:
        """The name of the input among the outputs."""
        return self.job.track

    @property
    def target(self) -> Path:
        """The folder of the outputs."""
        return self.job.manifest.parent

    @property
    def audio_seconds(self) -> float:
        """Length of the input, 0 if it failed, or if somebody edited the manifest."""
        counts = [(self.manifest or {}).get(name) for name in ("samples", "sample_rate")]
        samples, rate = (count if isinstance(count, int) and 0 < count < 1 << 60 else 0 for count in counts)
        return samples / rate if rate else 0.0


class Watcher(Protocol):
    """Receives what happens during a run, to show it to somebody."""

    def on_start(self, job: Job, seconds: float | None) -> None:
        """Learn that a job begins, and its `seconds` of audio where the file says."""

    def on_progress(self, job: Job, seconds: float) -> None:
        """Learn how many seconds of audio are done."""

    def on_warning(self, job: Job, text: str) -> None:
        """Learn what was put right on the way."""


def run(
    jobs: Iterable[Job], work: Work, watcher: Watcher | None = None, *, do: Callable[..., Outcome | None] | None = None
) -> Generator[Outcome, None, None]:
    """Work through the jobs and yield an outcome for each, whatever happens in it; `do` takes the place of `attempt`.

    A track that another process is at comes last: by then it may be done.
    """
    later: list[Job] = []
    began = time.time()
    for job, waited in chain(((job, False) for job in jobs), ((job, True) for job in _in_time(later))):
        outcome = (do or attempt)(job, work, watcher, began=began, waited=waited)
        if outcome is None:
            later.append(job)
        else:
            yield outcome


def attempt(
    job: Job, work: Work, watcher: Watcher | None = None, *, began: float, waited: bool = False
) -> Outcome | None:
    """Do one job, whatever happens in it. Return None if another process is at its track.

    Args:
        job: the job.
        work: what is to be done.
        watcher: is told what happens.
        began: when the run began, in seconds since 1970.
        waited: another process was at it before.
    """
    told, started = _Told(job, watcher), time.monotonic()
    try:
        with _opened(job, work, began, waited=waited) as state:
            if state == "open":
                told.start(work.options.time_range)
                manifest = work.carry_out(job, on_progress=told.progress, on_warning=told.warning)
                forget_aside(job.manifest)
    except Exception as error:
        return failed(job, error, seconds=time.monotonic() - started, warnings=told.warnings)
    if state == "open":
        return Outcome(job, "done", job.targets, manifest, time.monotonic() - started, tuple(told.warnings))
    if state == "finished":
        return skipped(job)
    if not waited:
        told.warning("another run is at this track, so it comes last")
    return None


def failed(job: Job, error: Exception, *, seconds: float = 0.0, warnings: Sequence[str] = ()) -> Outcome:
    """Return the outcome of a job that could not be done."""
    message = message_of(error, job)
    return Outcome(job, "failed", seconds=seconds, warnings=tuple(warnings), error=error, message=message)


def _in_time(later: list[Job]) -> Iterator[Job]:
    while later:
        time.sleep(POLL_SECONDS)
        yield later.pop(0)


@contextmanager
def _opened(job: Job, work: Work, began: float, *, waited: bool) -> Iterator[str]:
    """Claim the track of a job. Yield "open" if it can be done, "finished", or "busy" if another process is at it.

    Args:
        job: the job.
        work: what is to be done.
        began: when the run began, in seconds since 1970.
        waited: it was busy before.

    Raises: what is wrong with the job.
    """
    force = work.options.force
    if job.error is not None:
        raise job.error
    if job.made or (not force and not waited and work.is_finished(job)):
        yield "finished"
        return
    with claimed(claim_path(job.manifest)) as ours:
        if not ours:
            yield "busy"
            return
        clear_for(job.manifest, job.targets.values())
        # Another process may have done it just now, which is good enough for --force too.
        if ((waited and not force) or _is_since(job.manifest, began)) and work.is_finished(job):
            yield "finished"
            return
        check_targets(job, force=force)
        yield "open"


def _is_since(path: Path, began: float) -> bool:
    try:
        return kept_path(path).stat().st_mtime > began
    except OSError:
        return False


def foreseen(job: Job, work: Work, *, known: bool = True) -> Outcome:
    """Return what would become of a job: "planned", "skipped" or "failed". Nothing is written.

    Of a source on this machine the header is read, so that what is no audio shows.
    `known`: the source is there, and not still to come from a pipe.
    """
    try:
        if job.error is not None:
            raise job.error
        if job.made or (known and not work.options.force and work.is_finished(job)):
            return skipped(job)
        if known:
            check_targets(job, force=work.options.force)
            if job.mark is None:  # what is at an address is not fetched for this
                _info(job, work.options)
    except Exception as error:
        return failed(job, error)
    return Outcome(job, "planned")


def _info(job: Job, options: RunOptions) -> AudioInfo:
    """Read the header of a job's source. Raises: AudioError."""
    return probe(job.source, track=options.audio_track, salvage=options.salvage, time_range=options.time_range)


def check_targets(job: Job, *, force: bool) -> None:
    """Refuse to write over what is not of this job's source, according to its manifest.

    Raises: TargetCollisionError; OutputError if what is there is no file.
    """
    manifest = kept_path(job.manifest)
    there = [path for path in (*job.targets.values(), *job.beside, manifest) if os.path.lexists(path)]
    for path in there:
        if not (path.is_symlink() or path.is_file()):
            raise OutputError(
                f"cannot write {path}: {'a folder' if path.is_dir() else 'no file'} of that name is there"
            )
    if force or not there:
        return
    listed = (*(listed_paths(job.manifest) or ()), manifest) if is_of(job.manifest, job.source, job.location) else ()
    ours = {os.path.normpath(path) for path in listed}
    if foreign := [path for path in there if os.path.normpath(path) not in ours]:
        raise TargetCollisionError(
            f"{foreign[0]} is there, and not made of {job.called}: choose another --output, or replace it with --force"
        )


class _Told:
    """Keeps the warnings of a job, and passes on to a watcher, if there is one, what happens."""

    def __init__(self, job: Job, watcher: Watcher | None) -> None:
        self._job, self._watcher = job, watcher
        self.warnings: list[str] = []

    def start(self, time_range: TimeRange | None) -> None:
        if self._watcher is not None:
            self._watcher.on_start(self._job, known_seconds(self._job.source, time_range))

    def progress(self, seconds: float) -> None:
        if self._watcher is not None:
            self._watcher.on_progress(self._job, seconds)

    def warning(self, text: str) -> None:
        self.warnings.append(text)
        if self._watcher is not None:
            self._watcher.on_warning(self._job, text)


def message_of(error: Exception, job: Job) -> str:
    """Return one line about an error that names the input as the user knows it, and the way on."""
    text = in_words(error)
    if job.source != Path("-"):  # standard input, if it could not even be copied
        text = text.replace(str(job.source), job.called)
    if isinstance(error, DamagedError):
        text += "; --salvage takes what is there"
    return text if job.name in text or STDIN_NAME in text else f"{job.name}: {text}"


class Record:
    """What a manifest says of a job beside the work itself: its source as it was before the work, time, warnings.

    Raises: AudioError if the source cannot be read.
    """

    def __init__(self, job: Job, options: RunOptions, on_warning: Warn) -> None:
        self.job = job
        self.info = _info(job, options)
        self._started, self._on_warning = time.monotonic(), on_warning
        self._warnings: list[str] = []
        self._source = input_record(job.source, job.name, job.location, self.info, job.mark)

    @property
    def sha256(self) -> str:
        """Of the source."""
        return str(self._source["sha256"])

    def warn(self, text: str) -> None:
        """Note a warning and pass it on."""
        self._warnings.append(text)
        self._on_warning(text)

    def write(self, together: Together, about: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest aside, with what is to be said about the work, and return it. Raises: OutputError."""
        seconds = round(time.monotonic() - self._started, 3)
        own: dict[str, Any] = {"seconds": seconds, "warnings": self._warnings}
        if lost := [text.removeprefix(SALVAGED) for text in self._warnings if text.startswith(SALVAGED)]:
            own["salvaged"] = lost
        if earlier := _earlier(self.job):
            own["earlier"] = earlier
        if kept := earlier_selections(self.job.manifest, self.job.targets.values(), self.sha256):
            own["selections"] = kept
        manifest = {"stemsplit": __version__, "input": self._source, **about, **own}
        write_manifest(together.aside(place_for(self.job.manifest, manifest)), manifest)
        return manifest


def _earlier(job: Job) -> list[str]:
    """Return what the manifest that is there lists and the new one will not, if it is still there."""
    written = {os.path.normpath(path) for path in job.targets.values()}
    paths = dict.fromkeys(os.path.normpath(path) for path in listed_paths(job.manifest) or ())
    return [relative_path(job.manifest, Path(p)) for p in paths if p not in written and os.path.lexists(p)]


def skipped(job: Job) -> Outcome:
    """Return the outcome of a job whose outputs are there already, or which is no song."""
    if job.made:
        return Outcome(job, "skipped", warnings=("a stem of an earlier run: left out; named alone it is done",))
    manifest = selection_for(job.manifest, job.targets) or read_manifest(job.manifest) or {}
    return Outcome(job, "skipped", output_paths(job.manifest, manifest) if manifest else {}, manifest)
