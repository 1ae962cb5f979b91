"""A Python file for the callbacks of C libraries."""

from __future__ import annotations

import errno
import os
from typing import BinaryIO


class CallbackFile:
    """Lends an open file to libsndfile or FFmpeg. The first exception is kept for `check`, for none can cross C.

    That includes Ctrl-C, which would otherwise be printed and forgotten. There is no ``name``: knowing one, libsndfile
    would take any ``.vox`` or ``.au`` for headerless samples, and FFmpeg might take it for a URL. Once ``abandoned``,
    the file is left alone.
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
        try:
            return self.file.read(size)
        except BaseException as error:
            self._error = self._error or error
            return b""

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
            return self.file.seek(offset, whence)  # writes out what is buffered
        except BaseException as error:
            # A damaged header sends decoders before the start of a file; they complain of it themselves.
            if not (isinstance(error, (OSError, ValueError)) and getattr(error, "errno", None) in (None, errno.EINVAL)):
                self._error = self._error or error
            return -1

    def tell(self) -> int:
        return 0 if self.abandoned else self.file.tell()
