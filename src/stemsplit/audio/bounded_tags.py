"""A file of tags that is read within bounds: a tag of a few kilobytes can inflate to gigabytes, or take minutes.

mutagen has no limits of its own. So its calls are watched while it works, which costs no more than a few milliseconds.
"""

from __future__ import annotations

import io
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

MOST_BYTES = 64 << 20
"""Of a file that are read: pictures are in them."""
MOST_INFLATED = 1 << 22
"""Bytes of a compressed frame."""
MOST_SECONDS = 1.0
"""Of the thread's CPU time, so that it is the same on a busy machine."""
MOST_TEXT = 1 << 20
"""Characters of all fields together."""


class TagsTooLargeError(Exception):
    """Tags beyond a bound."""


class _Stop(BaseException):
    """The same on its way through mutagen, which would take an Exception for a damaged frame."""


@contextmanager
def bounded(path: Path) -> Iterator[Any]:
    """Open a file for mutagen. What is done with it in the block is stopped at a bound.

    Raises: OSError, TagsTooLargeError.
    """
    before, end = sys.getprofile(), time.thread_time() + MOST_SECONDS

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if time.thread_time() > end:
            raise _Stop(f"they take more than {MOST_SECONDS:g} s")
        if event == "c_call" and called is zlib.decompress:
            _check_inflated(frame.f_locals.get("data", b""))

    try:
        with _Metered(io.FileIO(str(path))) as file:
            sys.setprofile(watch)
            try:
                yield file
            finally:
                sys.setprofile(before)
    except _Stop as stop:
        raise TagsTooLargeError(str(stop)) from stop


class _Metered(io.BufferedReader):
    """A file of which only so many bytes can be read."""

    left = MOST_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.left + 1 if size is None or size < 0 else min(size, self.left + 1)
        data = super().read(wanted)
        self.left -= len(data)
        if self.left < 0:
            raise _Stop(f"they take more than {MOST_BYTES >> 20} MiB")
        return data


def _check_inflated(data: bytes) -> None:
    """Stop before data is inflated beyond the bound. Damaged data is left to mutagen."""
    try:
        inflating = zlib.decompressobj()
        inflating.decompress(data, MOST_INFLATED)
    except zlib.error:
        return
    if inflating.unconsumed_tail:
        raise _Stop(f"a part of them inflates to more than {MOST_INFLATED >> 20} MiB")


def check_text(fields: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse fields that no stem should get. Raises: TagsTooLargeError."""
    if sum(len(text) + 1 for name, values in fields.items() for text in (name, *values)) > MOST_TEXT:
        raise TagsTooLargeError(f"they have more than {MOST_TEXT} characters")
