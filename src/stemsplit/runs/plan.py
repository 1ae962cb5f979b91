"""What is refused before any work begins: outputs that would overwrite one another, a folder that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile

from stemsplit.errors import OutputError, TargetCollisionError, UsageError, reason
from stemsplit.files.inputs import Input
from stemsplit.files.naming import Paths, same_place
from stemsplit.files.places import Address, store_at
from stemsplit.machine.disk import identity, missing_folders, remove_empty
from stemsplit.runs.jobs import Job


def with_collisions(jobs: Sequence[Job], way_out: str = "") -> tuple[Job, ...]:
    """Return the jobs; those that would write over one another, or over a source, have an error that names them all.

    `way_out` is what the command offers to tell equal names apart.
    """
    first: dict[int, int] = {}  # hash of a place, which takes less memory → the first job that writes there
    shared: dict[str, dict[int, str]] = {}  # places that several need: number of a job → its path there
    for number, job in enumerate(jobs):
        for text in _written(job):
            place = same_place(text)
            owner = first.setdefault(hash(place), number)
            if owner != number and (other := _path_at(jobs[owner], place)) is not None:
                shared.setdefault(place, {owner: other})[number] = text
    for number, folder in _folders_that_are_files(jobs, first):
        place = same_place(folder)
        owner = first[hash(place)]
        if (other := _path_at(jobs[owner], place)) is not None:
            shared.setdefault(place, {owner: other}).setdefault(number, str(folder))
    errors = dict(_overwritten_sources(jobs))
    for _, paths in sorted(shared.items(), key=lambda item: first[hash(item[0])]):
        numbers = sorted(paths)
        if len(numbers) > 1 and not all(number in errors for number in numbers):
            names = [jobs[number].called for number in numbers]
            error = _collision(names, next(iter(paths.values())), way_out)
            errors = dict.fromkeys(numbers, error) | errors
    if not errors:
        return tuple(jobs)
    return tuple(replace(job, error=job.error or errors.get(number)) for number, job in enumerate(jobs))


def _written(job: Job) -> tuple[str, ...]:
    """Return the paths that a job writes to as text, which is what they are kept as."""
    if not job.targets:
        return ()
    texts = job.targets.texts if isinstance(job.targets, Paths) else map(str, job.targets.values())
    return (*texts, *map(str, job.beside), str(job.manifest))


def _path_at(job: Job, place: str) -> str | None:
    """Return the path of a job at a place; None if only their hashes are equal."""
    return next((text for text in _written(job) if same_place(text) == place), None)


def _folders_that_are_files(jobs: Sequence[Job], files: Mapping[int, int]) -> Iterator[tuple[int, Path]]:
    """Yield (number, folder) for every folder that a job needs and that is a file of some job, going by its hash."""

    @lru_cache(4096)  # songs of one folder come together
    def above(folder: Path) -> tuple[Path, ...]:
        others = () if folder == folder.parent else above(folder.parent)
        return (folder, *others) if hash(same_place(folder)) in files else others

    for number, job in enumerate(jobs):
        for folder in {path.parent for path in job.targets.values()}:
            for one in above(folder):
                yield number, one


def _collision(names: Sequence[str], path: str, way_out: str) -> TargetCollisionError:
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

    Raises: OutputError; for an address PlaceError, UsageError.
    """
    if isinstance(output, Address):
        store_at(output).try_out()
        return
    missing = missing_folders(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output, prefix=".stemsplit-"):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {output}: {reason(error)}") from error
    finally:
        remove_empty(missing)
