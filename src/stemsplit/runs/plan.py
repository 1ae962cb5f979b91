"""What is refused before any work begins: outputs that would overwrite one another, a folder that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from stemsplit.errors import OutputError, TargetCollisionError, UsageError, reason
from stemsplit.files.inputs import Input
from stemsplit.files.naming import same_place
from stemsplit.machine.disk import identity, missing_folders, remove_empty
from stemsplit.runs.jobs import Job


def with_collisions(jobs: Sequence[Job], way_out: str = "") -> tuple[Job, ...]:
    """Return the jobs; those that would write over one another, or over a source, have an error that names them all.

    `way_out` is what the command offers to tell equal names apart.
    """
    owners: dict[str, dict[int, Path]] = {}  # place → number of a job → its path there
    for number, job in enumerate(jobs):
        for path in (*job.targets.values(), *job.beside, job.manifest) if job.targets else ():
            owners.setdefault(same_place(path), {})[number] = path
    for number, job in enumerate(jobs):  # a folder that one needs may be the file of another
        for folder in {folder for path in job.targets.values() for folder in path.parents}:
            if (there := owners.get(same_place(folder))) is not None:
                there.setdefault(number, folder)
    errors = dict(_overwritten_sources(jobs))
    for paths in owners.values():
        numbers = sorted(paths)
        if len(numbers) > 1 and not all(number in errors for number in numbers):
            names = [jobs[number].called for number in numbers]
            error = _collision(names, next(iter(paths.values())), way_out)
            errors = dict.fromkeys(numbers, error) | errors
    return tuple(replace(job, error=job.error or errors.get(number)) for number, job in enumerate(jobs))


def _collision(names: Sequence[str], path: Path, way_out: str) -> TargetCollisionError:
    listed, both = f"{', '.join(names[:-1])} and {names[-1]}", "both" if len(names) == 2 else "all"
    return TargetCollisionError(f"{listed} would {both} write {path}: rename one, or give it another --output{way_out}")


def _overwritten_sources(jobs: Sequence[Job]) -> Iterator[tuple[int, TargetCollisionError]]:
    songs = (job for job in jobs if job.targets)
    sources = {key: job.called for job in songs if (key := identity(job.source)) is not None}
    for number, job in enumerate(jobs):
        for path in job.targets.values():
            if (there := identity(path)) is not None and (source := sources.get(there)) is not None:
                yield number, TargetCollisionError(f"{path} would be written over {source}: choose another --output")


def refuse_if_none_is_left(inputs: Sequence[Input] | Sequence[Job]) -> None:
    """Raise what is wrong if that is so with every one. Raises: UsageError."""
    errors = list({id(item.error): item.error for item in inputs if item.error is not None}.values())
    if errors and all(item.error is not None or item.made for item in inputs):
        raise errors[0] if len(errors) == 1 else UsageError("; ".join(str(error) for error in errors))


def check_writable(output: Path) -> None:
    """Make the output folder and try it.

    Raises: OutputError.
    """
    missing = missing_folders(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output, prefix=".stemsplit-"):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {output}: {reason(error)}") from error
    finally:
        remove_empty(missing)
