"""Writing files: first under a hidden name, then synced and renamed, so that no name ever stands for half a file.

Also hashes and locks of files.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stemsplit.errors import OutputError, reason

LEFT_BYTES = 256 << 20
"""What temporary copies of unknown length leave free on a disk."""
POLL_SECONDS = 0.1
"""Seconds between attempts to get a lock that another process holds."""


def partial_path(target: Path) -> Path:
    """Return a new hidden name in the folder of `target`, no longer than a file system with that name allows."""
    return target.with_name(f".{target.name[:40]}.partial-{secrets.token_hex(4)}")


def put_in_place(partial: Path, target: Path) -> None:
    """Sync a finished file to disk and rename it, so that both survive a power cut. Raises: OSError."""
    sync_file(partial)
    partial.replace(target)
    sync_folder(target.parent)


def spare_bytes(folder: Path) -> int:
    """Return how many bytes a disk can spare: what is free but `LEFT_BYTES`, or half of it where there is less."""
    free = shutil.disk_usage(folder).free
    return max(free - LEFT_BYTES, free // 2)


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Yield a hidden path to write to, which is renamed to `target` if the block succeeds and removed if it fails.

    Missing folders above `target` are made. If anything fails, `target` stays as it was.

    Raises:
        OutputError: for any OSError, also for one that is raised inside the block.
    """
    partial = partial_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        put_in_place(partial, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {reason(error)}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a small file, whole or not at all. Text is written as UTF-8. Raises: OutputError."""
    with written_aside(path) as partial:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)


def missing_folders(folder: Path) -> set[Path]:
    """Return `folder` and those above it that do not exist."""
    return {one for one in (folder, *folder.parents) if not os.path.lexists(one)}


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the deepest first, unless something is in them."""
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        with suppress(OSError):  # it is not empty, or was never made
            folder.rmdir()


def identity(path: Path) -> tuple[int, int] | None:
    """Return what is the same for all names of one file; None if it cannot be reached."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. The file is read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock on the file `path`, which is created if needed. Wait while another process holds it.

    The system releases the lock when the process ends, even by a crash, so no lock is ever left behind.

    Yields:
        True, or False if the file system has no locks. Then the caller must not share its temporary files with other
        processes.

    Raises:
        OutputError: the file cannot be created.
    """
    try:
        file = path.open("a+b")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    with file:
        while (held := try_lock(file.fileno())) is None:
            time.sleep(POLL_SECONDS)
        try:
            yield held
        finally:
            if held:
                _unlock(file.fileno())


_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def try_lock(descriptor: int) -> bool | None:
    """Try once to lock: True if it is locked now, None if another process holds it, False if there are no locks."""
    try:
        if os.name == "nt":
            windows = importlib.import_module("msvcrt")
            os.lseek(descriptor, 0, os.SEEK_SET)
            windows.locking(descriptor, windows.LK_NBLCK, 1)
        else:
            posix = importlib.import_module("fcntl")
            posix.flock(descriptor, posix.LOCK_EX | posix.LOCK_NB)
    except OSError as error:
        return None if error.errno in _BUSY else False
    return True


def _unlock(descriptor: int) -> None:
    if os.name == "nt":
        windows = importlib.import_module("msvcrt")
        os.lseek(descriptor, 0, os.SEEK_SET)
        windows.locking(descriptor, windows.LK_UNLCK, 1)
    else:
        posix = importlib.import_module("fcntl")
        posix.flock(descriptor, posix.LOCK_UN)


def sync_file(path: Path) -> None:
    """Write what the system holds of a file to disk. Raises: OSError."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that a new name in it survives a power cut; on systems that can do this."""
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
