"""Many tracks, whatever is done to them: what was made already is skipped, and a bad one stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stemsplit import __version__
from stemsplit.audio import AudioInfo, probe
from stemsplit.audio.info import Warn
from stemsplit.errors import AudioError, StemsplitError
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
    def output(self) -> Path: ...  # the folder that everything goes into
    @property
    def force(self) -> bool: ...  # whether to do again what is done already


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


class Watcher:
    """Is told what happens; this one ignores it."""

    def on_start(self, job: Job, seconds: float | None) -> None:
        """A job begins; `seconds` of audio, where the file says."""

    def on_progress(self, job: Job, seconds: float) -> None:
        """So many seconds of audio are done."""

    def on_warning(self, job: Job, text: str) -> None:
        """Something was put right on the way."""


def run(jobs: Iterable[Job], work: Work, watcher: Watcher | None = None) -> Iterator[Outcome]:
    """Work through the jobs; every one has an outcome, whatever happens in it."""
    for job in jobs:
        yield _run_one(job, work, watcher or Watcher())


def _run_one(job: Job, work: Work, watcher: Watcher) -> Outcome:
    started = time.monotonic()
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        watcher.on_warning(job, text)

    try:
        if not work.options.force and work.is_finished(job):
            return skipped(job)
        watcher.on_start(job, known_seconds(job.source))
        manifest = work.carry_out(job, on_progress=lambda seconds: watcher.on_progress(job, seconds), on_warning=warn)
    except Exception as error:
        took, said = time.monotonic() - started, tuple(warnings)
        return Outcome(job, "failed", seconds=took, warnings=said, error=error, message=_message(error, job))
    took, said = time.monotonic() - started, tuple(warnings)
    return Outcome(job, "done", job.targets, manifest, took, said)


def _message(error: Exception, job: Job) -> str:
    """One line that names the input as the user knows it."""
    text = str(error).replace(str(job.source), STDIN_NAME if job.name == "-" else job.name)
    if not isinstance(error, StemsplitError):
        text = f"unexpected {type(error).__name__}: {text}; run it with --debug for the whole story"
    return text if job.name in text or STDIN_NAME in text else f"{job.name}: {text}"


def recorded(job: Job, make: Callable[[AudioInfo, Warn], Mapping[str, Any]], on_warning: Warn) -> dict[str, Any]:
    """Let `make` write the targets of a job, then write its manifest and return it.

    `make` is handed what the source is and whom to warn, and returns what the manifest says of the work itself.
    """
    started = time.monotonic()
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        on_warning(text)

    info = probe(job.source)
    read_from = _input_record(job, info)  # before the work: the file may change meanwhile
    about = make(info, warn)
    seconds = round(time.monotonic() - started, 3)
    manifest = {"stemsplit": __version__, "input": read_from, **about, "seconds": seconds, "warnings": warnings}
    write_manifest(job.manifest, manifest)
    return manifest


def _input_record(job: Job, info: AudioInfo) -> dict[str, Any]:
    """What a manifest says of the file that all was made from."""
    return {
        "path": job.name,
        "sha256": sha256_of(job.source),
        "bytes": job.source.stat().st_size,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "codec": info.subtype,
    }


def skipped(job: Job) -> Outcome:
    """The outcome of a job whose outputs are there already."""
    manifest = read_manifest(job.manifest) or {}
    return Outcome(job, "skipped", output_paths(job.manifest, manifest) if manifest else {}, manifest)


def known_seconds(source: Path) -> float | None:
    """Length of a file: None if it does not say, 0 if it cannot be read, which shows when it is worked on."""
    try:
        return probe(source).seconds
    except (AudioError, OSError):
        return 0.0
