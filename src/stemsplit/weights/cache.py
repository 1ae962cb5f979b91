"""The folder where downloaded and converted models stay, and how to write into it safely.

    <cache>/downloads/<hash of the remote folder>/<file>   files from URLs, each with a record of its SHA-256
    <cache>/hub/                                           snapshots in the layout of huggingface_hub
    <cache>/converted/<file>-<hash>/                       safetensors made once from a public checkpoint

Two processes may use it at the same time: files appear whole, under a lock.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from stemsplit.errors import OutputError, reason
from stemsplit.machine.disk import locked, write_whole

SPARE_BYTES = 32 << 20  # left free on the disk
WAY_OUT = "Free some space, or set STEMSPLIT_CACHE to another folder."


def cache_dir() -> Path:
    """Return the cache folder: $STEMSPLIT_CACHE, or the system's place for caches. It need not exist yet.

    Raises: OutputError if the variable names the home of nobody.
    """
    chosen = os.environ.get("STEMSPLIT_CACHE")
    if chosen:
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            raise OutputError(f"STEMSPLIT_CACHE is {chosen}: there is no such user") from error
    import platformdirs  # here: to train, PyTorch, numpy and safetensors are enough

    return Path(platformdirs.user_cache_dir("stemsplit", appauthor=False))


def make_folder(folder: Path) -> Path:
    """Create a folder of the cache with its parents, and return it. Raises: OutputError."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Run a block that writes `path`, in the cache. Raises: OutputError that shows the way out, if the disk refuses."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else reason(error)
        raise OutputError(f"Cannot write {path}: {why}. {WAY_OUT}") from error


@contextmanager
def cache_lock(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`, made with its folder. Yield False where the file system knows no locks.

    Raises: OutputError if it cannot be made.
    """
    make_folder(path.parent)
    with ExitStack() as stack:
        try:
            exclusive = stack.enter_context(locked(path))
        except OutputError as error:
            raise OutputError(f"{error}. {WAY_OUT}") from error
        yield exclusive


def require_space(folder: Path, size: int) -> None:
    """See that `size` more bytes fit into an existing folder. Raises: OutputError."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        raise OutputError(f"{folder} has {free / 1e6:.0f} MB free, the download needs {size / 1e6:.0f} MB. {WAY_OUT}")


def read_record(path: Path) -> dict[str, Any]:
    """Return a small JSON object from the cache; empty if it is missing or was cut short."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a small JSON object, whole or not at all. Raises: OutputError."""
    try:
        write_whole(path, json.dumps(record, indent=1) + "\n")
    except OutputError as error:
        raise OutputError(f"{error}. {WAY_OUT}") from error
