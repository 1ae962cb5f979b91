"""Many songs to separate: everything that can be refused is refused first, then they are worked through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stemsplit import jobs as any_jobs
from stemsplit.audio import choose_depth, format_named, output_rate
from stemsplit.audio.info import Warn
from stemsplit.errors import TargetCollisionError, UsageError
from stemsplit.files.inputs import Input
from stemsplit.files.manifest import MANIFEST_NAME
from stemsplit.files.naming import check_template, same_place, stem_path
from stemsplit.jobs import Job, Outcome, Progress, Watcher, check_writable, refuse_collisions
from stemsplit.options import CLIPS, SeparateOptions
from stemsplit.separation.separator import Separator
from stemsplit.track import is_finished, separate_track

__all__ = ["Outcome", "Separating", "Watcher", "check_options", "check_writable", "plan", "run"]


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
    for job in jobs:
        if len({same_place(path) for path in job.targets.values()}) < len(job.targets):
            path = next(iter(job.targets.values()))
            raise TargetCollisionError(f"all stems of {job.name} would be {path}: put {{stem}} into --template")
    refuse_collisions(jobs)
    return jobs


def _job(item: Input, separator: Separator, options: SeparateOptions, extension: str) -> Job:
    targets = {
        output.name: stem_path(options.output, options.template, item.track, output.name, extension)
        for output in separator.outputs
    }
    return Job(item.path, item.track, item.name, targets, options.output / item.track / MANIFEST_NAME)


@dataclass(frozen=True)
class Separating:
    """To separate, as the work of a run."""

    separator: Separator
    options: SeparateOptions

    def is_finished(self, job: Job) -> bool:
        """See `track.is_finished`."""
        return is_finished(job, self.separator, self.options)

    def carry_out(self, job: Job, *, on_progress: Progress | None, on_warning: Warn) -> Mapping[str, Any]:
        """See `track.separate_track`."""
        return separate_track(job, self.separator, self.options, on_progress=on_progress, on_warning=on_warning)


def run(
    jobs: Iterable[Job], separator: Separator, options: SeparateOptions, watcher: Watcher | None = None
) -> Iterator[Outcome]:
    """Separate them all; every one has an outcome, whatever happens in it."""
    return any_jobs.run(jobs, Separating(separator, options), watcher)
