"""A file as its decoder is to see it: without what lies before and behind the sound, and with a true header."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class View:
    """Which bytes of a file a decoder gets. The file itself is never changed.

    Attributes:
        start: the first byte, counted from the start of the file.
        end: the byte after the last one; None for all.
        patches: (position in the file, bytes that stand there instead).
    """

    start: int = 0
    end: int | None = None
    patches: tuple[tuple[int, bytes], ...] = ()

    def open(self, path: Path) -> BinaryIO:
        """Open the file for reading. Raises: OSError."""
        file = path.open("rb")
        return file if self == WHOLE else io.BufferedReader(_Viewed(file, self))


WHOLE = View()


def most_steps(size: int) -> int:
    """Return over how many parts of a file of `size` bytes we walk at most: thousands of empty ones tell nothing."""
    return 10_000 + size // 64


class _Viewed(io.RawIOBase):
    """The part of an open file that a view shows; closing it closes the file."""

    def __init__(self, file: BinaryIO, view: View) -> None:
        self._file, self._view = file, view
        size = file.seek(0, os.SEEK_END)
        self._end = size if view.end is None else min(size, view.end)
        self._at = view.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._end:
            return 0
        self._file.seek(self._at)
        data = bytearray(self._file.read(min(len(buffer), self._end - self._at)))
        for position, patch in self._view.patches:
            self._overlay(data, position, patch)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _overlay(self, data: bytearray, position: int, patch: bytes) -> None:
        first, last = max(position, self._at), min(position + len(patch), self._at + len(data))
        if first < last:
            data[first - self._at : last - self._at] = patch[first - position : last - position]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._view.start, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        if base + offset < self._view.start:
            raise ValueError("a position before the start")
        self._at = base + offset
        return self.tell()

    def tell(self) -> int:
        return self._at - self._view.start

    def close(self) -> None:
        self._file.close()
        super().close()
