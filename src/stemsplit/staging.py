"""Files that belong together appear together, or not at all and without a new folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from stemsplit.errors import OutputError


@contextmanager
def staged(targets: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Yield a place to write each file to; they are moved to their targets, all in one folder, when all are written.

    Raises: OutputError.
    """
    folder = next(iter(targets.values())).parent
    with new_folders_removed_on_error(targets.values()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(dir=folder, prefix=".stemsplit-"))
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {(error.strerror or str(error)).lower()}") from error
        try:
            places = {name: stage / target.name for name, target in targets.items()}
            yield places
            _move(places, targets)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _move(places: Mapping[str, Path], targets: Mapping[str, Path]) -> None:
    """Rename all; if one cannot be, those that are new go again."""
    new: list[Path] = []
    try:
        for name, target in targets.items():
            if not target.exists():
                new.append(target)
            try:
                places[name].replace(target)
            except OSError as error:
                raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error
    except BaseException:
        for target in new:
            with suppress(OSError):
                target.unlink(missing_ok=True)
        raise


@contextmanager
def new_folders_removed_on_error(targets: Iterable[Path]) -> Iterator[None]:
    """Remove the folders of targets that were not there before, if the block fails."""
    missing = {folder for target in targets for folder in target.parents if not folder.exists()}
    try:
        yield
    except BaseException:
        for folder in sorted(missing, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):  # not empty, or never made
                folder.rmdir()
        raise
