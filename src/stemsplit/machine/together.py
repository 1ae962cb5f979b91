"""Files that appear together or not at all.

They are written aside, into a hidden stage beside their targets, and synced. Then each gets its name. If one cannot,
the others are taken back, and what stood there before is there again. Signals wait meanwhile. A process that is killed
leaves its stage, which nobody holds any more: `files.leftovers` clears it away.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stemsplit.errors import OutputError, reason
from stemsplit.machine.claims import ATTEMPTS, Claim, try_claim
from stemsplit.machine.disk import missing_folders, remove_empty, sync_file, sync_folder
from stemsplit.machine.signals import signals_wait

STAGE_PREFIX = ".stemsplit.partial-"
CLAIM_NAME = ".claim"


class Together:
    """The places of files that will appear together; made by `written_together`."""

    def __init__(self) -> None:
        self._stages: dict[Path, tuple[Path, Claim]] = {}
        self._places: dict[Path, Path] = {}
        self._missing: set[Path] = set()

    def aside(self, target: Path) -> Path:
        """Return where to write what will be `target`: a free name, on the same disk. The same target, the same place.

        Missing folders above the target are made.
        Raises: OutputError.
        """
        if target not in self._places:
            self._places[target] = self._stage(target.parent, target) / target.name
        return self._places[target]

    def _stage(self, folder: Path, target: Path) -> Path:
        if folder not in self._stages:
            self._missing |= missing_folders(folder)
            try:
                self._stages[folder] = _new_stage(folder)
            except OSError as error:
                raise OutputError(f"cannot write {target}: {reason(error)}") from error
        return self._stages[folder][0]

    def commit(self) -> None:
        """Give every file its name, or none. Raises: OutputError."""
        done: list[tuple[Path, Path | None]] = []
        target = next(iter(self._places), Path())
        try:
            for place in self._places.values():
                sync_file(place)
            for number, (target, place) in enumerate(self._places.items()):
                kept = _keep(target, place.parent / f".old-{number}")
                done.append((target, kept))
                place.replace(target)
        except BaseException as error:
            for old, kept in reversed(done):
                with suppress(OSError):
                    _put_back(old, kept)
            if isinstance(error, OSError):
                raise OutputError(f"cannot write {target}: {reason(error)}") from error
            raise
        for folder in self._stages:
            sync_folder(folder)

    def clear(self) -> None:
        """Remove the stages, and the folders that were made and are empty."""
        stages, self._stages = self._stages, {}
        for stage, claim in stages.values():
            remove_stage(stage, claim)
        remove_empty(self._missing)


@contextmanager
def written_together() -> Iterator[Together]:
    """Yield what has a place aside for every target. They all get their names if the block succeeds, or none does.

    Raises:
        OutputError: a folder or the disk refuses.
    """
    together = Together()
    try:
        yield together
        with signals_wait():
            together.commit()
    finally:
        with signals_wait():
            together.clear()


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `folder` that is removed after the block, or by `files.leftovers` after a kill.

    Raises: OutputError if it cannot be made.
    """
    try:
        stage, claim = _new_stage(folder)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {reason(error)}") from error
    try:
        yield stage
    finally:
        with signals_wait():
            remove_stage(stage, claim)


def remove_stage(stage: Path, claim: Claim) -> None:
    """Remove a stage that is claimed, with all that is in it."""
    for entry in _entries(stage):
        if entry != claim.path:
            with suppress(OSError):
                entry.unlink()
    claim.release()
    shutil.rmtree(stage, ignore_errors=True)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _new_stage(folder: Path) -> tuple[Path, Claim]:
    """Make a stage in a folder, which may be missing, and claim it. Raises: OSError."""
    for _ in range(ATTEMPTS):
        stage = folder / f"{STAGE_PREFIX}{secrets.token_hex(4)}"
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process may remove the folder while it is empty
            stage.mkdir()
        # Before it is claimed, another process may take it for a leftover.
        with suppress(FileNotFoundError):
            if (claim := try_claim(stage / CLAIM_NAME)) is not None:
                return stage, claim
    raise OSError(errno.EAGAIN, "other processes remove what is made there")


def _keep(target: Path, backup: Path) -> Path | None:
    """Give what stands at `target` a second name; None if nothing does. Raises: OSError, also for what is no file."""
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder of that name is there")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise FileExistsError(errno.EEXIST, "something is there that is no file")
    try:
        os.link(target, backup, follow_symlinks=False)
    except (OSError, NotImplementedError):  # not every file system has hard links
        target.replace(backup)
    return backup


def _put_back(target: Path, kept: Path | None) -> None:
    if kept is None:
        target.unlink(missing_ok=True)
    else:
        kept.replace(target)
