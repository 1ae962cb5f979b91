"""Many songs: everything that can be refused is refused first, then each is separated; a bad one stops no other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from stemsplit.audio import choose_depth, format_named, output_rate, probe
from stemsplit.errors import AudioError, OutputError, StemsplitError, TargetCollisionError, UsageError
from stemsplit.inputs import Input
from stemsplit.manifest import MANIFEST_NAME, output_paths, read_manifest
from stemsplit.naming import check_template, same_place, stem_path
from stemsplit.options import CLIPS, SeparateOptions
from stemsplit.separator import Separator
from stemsplit.track import Job, is_finished, separate_track

STDIN_NAME = "standard input"


@dataclass(frozen=True)
class Outcome:
    """What became of a job: status "done", "skipped" or "failed". `seconds`: it took; `audio_seconds`: it lasts."""

    source: str
    track: str
    status: str
    target: Path
    outputs: Mapping[str, Path] = field(default_factory=dict)
    manifest: Mapping[str, Any] | None = None
    audio_seconds: float = 0.0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: BaseException | None = None
    message: str = ""  # the error, in one line for a person


class Watcher:
    """Is told what happens; this one ignores it."""

    def on_start(self, job: Job, seconds: float | None) -> None:
        """A job begins; `seconds` of audio, where the file says."""

    def on_progress(self, job: Job, seconds: float) -> None:
        """So many seconds of audio are done."""

    def on_warning(self, job: Job, text: str) -> None:
        """Something was put right on the way."""


def check_options(options: SeparateOptions) -> None:
    """Refuse what is wrong whatever the input is.

    Raises: UsageError.
    """
    check_template(options.template)
    row = format_named(options.format)
    choose_depth(options.format, options.bit_depth)
    if options.clip not in CLIPS:
        raise UsageError(f"unknown --clip {options.clip!r}: choose one of {', '.join(CLIPS)}")
    if options.exact_sum and row.lossy:
        raise UsageError(f"--exact-sum needs wav, flac or aiff: {row.name} changes samples")
    rate = options.sample_rate
    if rate is not None and rate < 1:
        raise UsageError(f"--sample-rate {rate} is no rate: give Hz, or source")
    if rate is not None and output_rate(options.format, rate) != rate:
        best = output_rate(options.format, rate)
        raise UsageError(f"{row.name} cannot hold {rate} Hz: use --sample-rate {best}, or --format wav")


def plan(inputs: Sequence[Input], separator: Separator, options: SeparateOptions) -> tuple[Job, ...]:
    """Where every stem of every input goes.

    Raises: TargetCollisionError, UsageError.
    """
    extension = format_named(options.format).suffix
    jobs = tuple(_job(item, separator, options, extension) for item in inputs)
    _refuse_collisions(jobs)
    return jobs


def _job(item: Input, separator: Separator, options: SeparateOptions, extension: str) -> Job:
    targets = {
        output.name: stem_path(options.output, options.template, item.track, output.name, extension)
        for output in separator.outputs
    }
    return Job(item.path, item.track, item.name, targets, options.output / item.track / MANIFEST_NAME)


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    owners: dict[str, Job] = {}
    for job in jobs:
        for path in (*job.targets.values(), job.manifest):
            other = owners.setdefault(same_place(path), job)
            if other is not job:
                raise TargetCollisionError(
                    f"{other.name} and {job.name} would both write {path}: rename one, or give it another --output"
                )
        if len({same_place(path) for path in job.targets.values()}) < len(job.targets):
            path = next(iter(job.targets.values()))
            raise TargetCollisionError(f"all stems of {job.name} would be {path}: put {{stem}} into --template")
    for path, source in _overwritten_sources(jobs):
        raise TargetCollisionError(f"{path} would be written over {source}: choose another --output")


def _overwritten_sources(jobs: Sequence[Job]) -> Iterator[tuple[Path, str]]:
    sources = {job.source.resolve(): job.name for job in jobs}
    for path in (path for job in jobs for path in job.targets.values() if path.exists()):
        if (name := sources.get(path.resolve())) is not None:
            yield path, name


def check_writable(output: Path) -> None:
    """Make the output folder and try it.

    Raises: OutputError.
    """
    missing = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output, prefix=".stemsplit-"):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {output}: {(error.strerror or str(error)).lower()}") from error
    finally:
        for folder in missing:  # the deepest first
            with suppress(OSError):
                folder.rmdir()


def run(
    jobs: Iterable[Job], separator: Separator, options: SeparateOptions, watcher: Watcher | None = None
) -> Iterator[Outcome]:
    """Work through the jobs; every one has an outcome, whatever happens in it."""
    for job in jobs:
        yield _run_one(job, separator, options, watcher or Watcher())


def _run_one(job: Job, separator: Separator, options: SeparateOptions, watcher: Watcher) -> Outcome:
    started = time.monotonic()
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        watcher.on_warning(job, text)

    try:
        if not options.force and is_finished(job, separator, options):
            return skipped(job)
        watcher.on_start(job, known_seconds(job.source))
        manifest = separate_track(
            job,
            separator,
            options,
            on_progress=lambda seconds: watcher.on_progress(job, seconds),
            on_warning=warn,
        )
    except Exception as error:
        return Outcome(
            job.name,
            job.track,
            "failed",
            job.manifest.parent,
            seconds=time.monotonic() - started,
            warnings=tuple(warnings),
            error=error,
            message=_message(error, job),
        )
    return Outcome(
        job.name,
        job.track,
        "done",
        job.manifest.parent,
        outputs=job.targets,
        manifest=manifest,
        audio_seconds=manifest["samples"] / manifest["sample_rate"],
        seconds=time.monotonic() - started,
        warnings=tuple(warnings),
    )


def _message(error: Exception, job: Job) -> str:
    """One line that names the song as the user knows it."""
    text = str(error).replace(str(job.source), STDIN_NAME if job.name == "-" else job.name)
    if not isinstance(error, StemsplitError):
        text = f"unexpected {type(error).__name__}: {text}; run it with --debug for the whole story"
    return text if job.name in text or STDIN_NAME in text else f"{job.name}: {text}"


def skipped(job: Job) -> Outcome:
    """The outcome of a job whose stems are there already."""
    manifest = read_manifest(job.manifest) or {}
    outputs = output_paths(job.manifest, manifest) if manifest else {}
    seconds = manifest["samples"] / manifest["sample_rate"] if manifest else 0.0
    return Outcome(job.name, job.track, "skipped", job.manifest.parent, outputs, manifest, seconds)


def known_seconds(source: Path) -> float | None:
    """Length of a file: None if it does not say, 0 if it cannot be read, which shows when it is separated."""
    try:
        return probe(source).seconds
    except (AudioError, OSError):
        return 0.0
