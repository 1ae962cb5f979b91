"""Memory of the process: what it has freed it keeps, and what it has imported is not looked through for garbage."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks that were freed, and return whether that was possible.

    By default glibc maps new memory for each large tensor, and the kernel fills every page of it with zeros. That takes
    a large part of a forward pass on a CPU. With this setting the peak of memory stays the same, but the memory is not
    returned to the system between passes. Without glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES))


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
