"""Memory of the process: let it keep what it has freed, instead of returning it to the system each time."""

from __future__ import annotations

import ctypes
import sys

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
