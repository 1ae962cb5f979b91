"""A library in Python that reads a file, within bounds: a few kilobytes can inflate to gigabytes, or take minutes.

mutagen, which reads tags, has no limits of its own. So its calls are watched while it works, which costs no more than a
few milliseconds.
"""

from __future__ import annotations

import inspect
import io
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

MOST_BYTES = 64 << 20
"""Of a file that are read: pictures are in them."""
MOST_INFLATED = 1 << 22
"""Bytes of one compressed part."""
MOST_SECONDS = 1.0
"""Of the thread's CPU time, so that it is the same on a busy machine."""


class BeyondBoundsError(Exception):
    """A file that takes too much."""


class _Stop(BaseException):
    """The same on its way through the library, which may take an Exception for damage."""


@contextmanager
def bounded(path: Path) -> Iterator[Any]:
    """Open a file for a library. What is done with it in the block is stopped at a bound.

    Raises: OSError, BeyondBoundsError.
    """
    before, end = sys.getprofile(), time.thread_time() + MOST_SECONDS

    def watch(frame: FrameType, event: str, called: Any) -> None:
        # A generator may be about to be thrown away, where whatever it raises is lost: what is called next stops.
        if time.thread_time() > end and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            raise _Stop(f"reading takes more than {MOST_SECONDS:g} s")
        if event == "c_call" and called is zlib.decompress:
            _check_inflated(frame.f_locals.get("data"))

    try:
        with _Metered(io.FileIO(str(path))) as file:
            sys.setprofile(watch)
            try:
                yield file
            finally:
                sys.setprofile(before)
    except _Stop as stop:
        raise BeyondBoundsError(str(stop)) from stop


class _Metered(io.BufferedReader):
    """A file of which only so many bytes can be read."""

    left = MOST_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.left + 1 if size is None or size < 0 else min(size, self.left + 1)
        data = super().read(wanted)
        self.left -= len(data)
        if self.left < 0:
            raise _Stop(f"reading takes more than {MOST_BYTES >> 20} MiB")
        return data


def _check_inflated(data: object) -> None:
    """Stop before data is inflated beyond the bound, or unseen. Damaged data is left to the library."""
    if not isinstance(data, bytes):
        raise _Stop("a part is packed in a way that is not known here")
    try:
        inflating = zlib.decompressobj()
        inflating.decompress(data, MOST_INFLATED)
    except zlib.error:
        return
    if inflating.unconsumed_tail:
        raise _Stop(f"a part inflates to more than {MOST_INFLATED >> 20} MiB")
