"""Many tracks, whatever is done to them: what was made already is skipped, and a bad one stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stemsplit import __version__
from stemsplit.audio import AudioInfo, probe
from stemsplit.audio.findings import SALVAGED
from stemsplit.audio.info import Warn
from stemsplit.errors import AudioError, DamagedError, StemsplitError
from stemsplit.files.manifest import output_paths, read_manifest, write_manifest
from stemsplit.machine.disk import sha256_of

STDIN_NAME = "standard input"

Progress = Callable[[float], object]
"""Is told the seconds of audio that are done."""


@dataclass(frozen=True)
class Job:
    """One track to work on: `targets` are output → file, in the order of the outputs."""

    source: Path
    track: str
    name: str  # the source as the user knows it
    targets: Mapping[str, Path]
    manifest: Path


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
    """What became of a job: status "done", "skipped" or "failed". `seconds`: it took; `audio_seconds`: it lasts."""

    job: Job
    status: str
    outputs: Mapping[str, Path] = field(default_factory=dict)
    manifest: Mapping[str, Any] | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: BaseException | None = None
    message: str = ""  # the error, in one line for a person

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
        """Length of the input, 0 if it failed."""
        return self.manifest["samples"] / self.manifest["sample_rate"] if self.manifest else 0.0


class Watcher(Protocol):
    """Receives what happens during a run, to show it to somebody."""

    def on_start(self, job: Job, seconds: float | None) -> None:
        """Learn that a job begins, and its `seconds` of audio where the file says."""

    def on_progress(self, job: Job, seconds: float) -> None:
        """Learn how many seconds of audio are done."""

    def on_warning(self, job: Job, text: str) -> None:
        """Learn what was put right on the way."""


def run(jobs: Iterable[Job], work: Work, watcher: Watcher | None = None) -> Iterator[Outcome]:
    """Work through the jobs and yield an outcome for each, whatever happens in it."""
    for job in jobs:
        told, started = _Told(job, watcher), time.monotonic()
        try:
            if not work.options.force and work.is_finished(job):
                yield skipped(job)
                continue
            told.start()
            manifest = work.carry_out(job, on_progress=told.progress, on_warning=told.warning)
        except Exception as error:
            took, said = time.monotonic() - started, tuple(told.warnings)
            yield Outcome(job, "failed", seconds=took, warnings=said, error=error, message=message_of(error, job))
            continue
        yield Outcome(job, "done", job.targets, manifest, time.monotonic() - started, tuple(told.warnings))


class _Told:
    """Keeps the warnings of a job, and passes on to a watcher, if there is one, what happens."""

    def __init__(self, job: Job, watcher: Watcher | None) -> None:
        self._job, self._watcher = job, watcher
        self.warnings: list[str] = []

    def start(self) -> None:
        if self._watcher is not None:
            self._watcher.on_start(self._job, known_seconds(self._job.source))

    def progress(self, seconds: float) -> None:
        if self._watcher is not None:
            self._watcher.on_progress(self._job, seconds)

    def warning(self, text: str) -> None:
        self.warnings.append(text)
        if self._watcher is not None:
            self._watcher.on_warning(self._job, text)


def message_of(error: Exception, job: Job) -> str:
    """Return one line about an error that names the input as the user knows it, and the way on."""
    text = str(error).replace(str(job.source), STDIN_NAME if job.name == "-" else job.name)
    if isinstance(error, DamagedError):
        text += "; --salvage takes what is there"
    if not isinstance(error, StemsplitError):
        text = f"unexpected {type(error).__name__}: {text}; run it with --debug for the whole story"
    return text if job.name in text or STDIN_NAME in text else f"{job.name}: {text}"


class Record:
    """What a manifest says of a job beside the work itself: its source as it was before the work, time, warnings.

    Raises: AudioError if the source cannot be read.
    """

    def __init__(self, job: Job, options: RunOptions, on_warning: Warn) -> None:
        self.job = job
        self.info = probe(job.source, track=options.audio_track, salvage=options.salvage)
        self._started, self._on_warning = time.monotonic(), on_warning
        self._warnings: list[str] = []
        self._source = _input_record(job, self.info)

    def warn(self, text: str) -> None:
        """Note a warning and pass it on."""
        self._warnings.append(text)
        self._on_warning(text)

    def write(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest, with what is to be said about the work, and return it. Raises: OutputError."""
        seconds = round(time.monotonic() - self._started, 3)
        own: dict[str, Any] = {"seconds": seconds, "warnings": self._warnings}
        if lost := [text.removeprefix(SALVAGED) for text in self._warnings if text.startswith(SALVAGED)]:
            own["salvaged"] = lost
        manifest = {"stemsplit": __version__, "input": self._source, **about, **own}
        write_manifest(self.job.manifest, manifest)
        return manifest


def _input_record(job: Job, info: AudioInfo) -> dict[str, Any]:
    return {
        "path": job.name,
        "sha256": sha256_of(job.source),
        "bytes": job.source.stat().st_size,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "codec": info.subtype,
    }


def skipped(job: Job) -> Outcome:
    """Return the outcome of a job whose outputs are there already."""
    manifest = read_manifest(job.manifest) or {}
    return Outcome(job, "skipped", output_paths(job.manifest, manifest) if manifest else {}, manifest)


def known_seconds(source: Path) -> float | None:
    """Length of a file: None if it does not say, 0 if it cannot be read, which shows when it is worked on."""
    try:
        return probe(source).seconds
    except (AudioError, OSError):
        return 0.0
