"""What is refused before any work begins: outputs that would overwrite one another, a folder that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from stemsplit.errors import OutputError, TargetCollisionError, reason
from stemsplit.files.naming import same_place
from stemsplit.runs.jobs import Job


def refuse_collisions(jobs: Sequence[Job]) -> None:
    """Refuse jobs that would write over one another, or over a source.

    Raises: TargetCollisionError.
    """
    owners: dict[str, Job] = {}
    for job in jobs:
        for path in (*job.targets.values(), job.manifest):
            other = owners.setdefault(same_place(path), job)
            if other is not job:
                raise TargetCollisionError(
                    f"{other.name} and {job.name} would both write {path}: rename one, or give it another --output"
                )
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
        raise OutputError(f"cannot write to {output}: {reason(error)}") from error
    finally:
        for folder in missing:  # the deepest first
            with suppress(OSError):
                folder.rmdir()
