"""A Python file for libsndfile's callbacks."""

from __future__ import annotations

import os
from typing import BinaryIO


class CallbackFile:
    """Lends an open file to libsndfile. The first exception is kept for `check`, for none can cross C.

    That includes Ctrl-C, which would otherwise be printed and forgotten. There is no ``name``: knowing one,
    libsndfile would take any ``.vox`` or ``.au`` for headerless samples. Once ``abandoned``, the file is left alone.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.abandoned = False
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong in a callback since the last check."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def readinto(self, buffer: memoryview) -> int:
        try:
            return self.file.readinto(buffer)  # type: ignore[attr-defined]
        except BaseException as error:
            self._error = self._error or error
            return 0

    def read(self, size: int = -1) -> bytes:
        data = bytearray(max(size, 0))
        return bytes(data[: self.readinto(memoryview(data))])

    def write(self, data: bytes) -> int:
        if self.abandoned or self._error is not None:
            return 0
        try:
            return self.file.write(data)
        except BaseException as error:
            self._error = error
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.abandoned:
            return 0
        try:
            return self.file.seek(offset, whence)
        except ValueError:  # a damaged header can send libsndfile before the start: its own complaint follows
            return -1
        except BaseException as error:  # a seek writes out what is buffered
            self._error = self._error or error
            return -1

    def tell(self) -> int:
        return 0 if self.abandoned else self.file.tell()
