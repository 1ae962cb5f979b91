"""Claims: who may write a track, among all the processes that share a folder.

A claim is a lock on a small hidden file. The system drops the lock when its process ends, even by a crash, whatever
number the process had and on whichever machine it ran. So a file that can be locked belongs to nobody who lives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stemsplit.errors import OutputError, reason
from stemsplit.machine.disk import remove_empty, try_lock
from stemsplit.machine.signals import signals_wait

ATTEMPTS = 200
"""How often a file is made anew that another process removes at that very moment."""


class Claim:
    """A lock that is held on `path`; the file goes with it. `sure` is False if the file system has no locks."""

    def __init__(self, path: Path, descriptor: int, sure: bool) -> None:
        self.path, self.sure, self._descriptor = path, sure, descriptor

    def leave(self) -> None:
        """Let go of the file, which stays."""
        os.close(self._descriptor)

    def release(self) -> None:
        """Remove the file and let go of it."""
        if os.name == "nt":  # an open file cannot be removed there; one that another process has opened stays
            os.close(self._descriptor)
        with suppress(OSError):
            self.path.unlink()
        if os.name != "nt":
            os.close(self._descriptor)


def try_claim(path: Path) -> Claim | None:
    """Lock the file `path`, which is made if needed. Return None while another process holds it. Raises: OSError."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    for _ in range(ATTEMPTS):
        try:
            descriptor = os.open(path, flags, 0o666)
        except PermissionError:  # another user's; to lock it, it need not be written
            descriptor = os.open(path, flags & ~(os.O_RDWR | os.O_CREAT))
        held = try_lock(descriptor)
        if held is None:
            os.close(descriptor)
            return None
        if not held or _is_open_at(path, descriptor):
            return Claim(path, descriptor, held)
        os.close(descriptor)  # its last holder has removed it: what was locked has no name any more
    return None


def _is_open_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Claim `path` for the length of the block, without waiting; missing folders are made.

    Folders that were made and are empty in the end are removed again.

    Yields:
        False if another process holds the claim.

    Raises:
        OutputError: the folder cannot be made, or takes no file.
    """
    missing: set[Path] = set()
    try:
        claim = _claim_in_new_folder(path, missing)
    except OSError as error:
        remove_empty(missing)
        raise OutputError(f"cannot write to {path.parent}: {reason(error)}") from error
    try:
        yield claim is not None
    finally:
        with signals_wait():
            if claim is not None:
                claim.release()
            remove_empty(missing)


def _claim_in_new_folder(path: Path, made: set[Path]) -> Claim | None:
    """Claim `path`; the folders that had to be made are added to `made`."""
    for attempt in range(ATTEMPTS):
        try:
            _make(path.parent, made)
            return try_claim(path)
        except FileNotFoundError:  # another process has removed the folder, which was empty
            if attempt == ATTEMPTS - 1:
                raise
    return None


def _make(folder: Path, made: set[Path]) -> None:
    for one in (*reversed(folder.parents), folder):
        if not one.is_dir():
            with suppress(FileExistsError):  # another process was faster
                one.mkdir()
                made.add(one)
