"""Memory of the process: what it has freed it keeps, and what it has imported is not looked through for garbage."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = 2**31 - 1
_FEWEST_PAGES = 16
_HELD_BY_FILE = {0b000, 0b001, 0b101}
"""The first bits of a page's entry in pagemap (in memory, swapped, of a file) with which nothing is lost."""


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks that were freed, and return whether that was possible.

    By default glibc maps new memory for each large tensor, and the kernel fills every page of it with zeros. That takes
    a large part of a forward pass on a CPU. With this setting the peak of memory stays the same, but the memory is not
    returned to the system between passes. Without glibc nothing is done.
    """
    mallopt = _system_function("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES))


@cache
def available_bytes(meminfo: Path = Path("/proc/meminfo"), mounted: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how much memory new processes can take without swapping; None where the system does not say.

    In a container it is what the control group leaves, if that is less.

    Args:
        meminfo: what Linux says of the memory.
        mounted: where the control group of this process is mounted.
    """
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    if match is None:
        return None
    free = int(match[1]) << 10
    for limit, used in _GROUP_FILES:
        with suppress(OSError, ValueError):  # there is no limit, or it is called "max"
            free = min(free, max(0, int((mounted / limit).read_text()) - int((mounted / used).read_text())))
    return free


_GROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Limit and use, in version 2 and version 1 of control groups."""


def _system_function(name: str) -> Any:
    """Return a function of the C library on Linux; None if there is none of that name."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


def give_back_file_pages(address: int, size: int) -> int:
    """Give the memory of a range back to the system where a file holds the same, and return how many bytes.

    What is read of the range later, the system reads from the file again. Ranges that are not mapped from a file or
    have been written to stay as they are. So do small ones, and everything on systems other than Linux.
    """
    first, end = -(-address // mmap.PAGESIZE), (address + size) // mmap.PAGESIZE
    madvise = _system_function("madvise")
    if end - first < _FEWEST_PAGES or madvise is None:
        return 0
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
            states = os.pread(pagemap.fileno(), 8 * (end - first), 8 * first)
    except OSError:
        return 0
    if len(states) < 8 * (end - first) or not {state >> 61 for state in memoryview(states).cast("Q")} <= _HELD_BY_FILE:
        return 0
    size = (end - first) * mmap.PAGESIZE
    where = ctypes.c_void_p(first * mmap.PAGESIZE), ctypes.c_size_t(size)
    return 0 if madvise(*where, mmap.MADV_DONTNEED) else size


@contextmanager
def to_stay() -> Iterator[None]:
    """Keep the garbage collector away, now and later, from what is made inside the block and before it.

    The import of PyTorch makes about half a million objects that all stay. The collector would go through them several
    times while they are made, and again while the network computes. Other garbage is collected as before.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
