"""An open Python file that a C library reads or writes through callbacks."""

from __future__ import annotations

import errno
import os
from typing import BinaryIO


class CallbackFile:
    """An open file as libsndfile and FFmpeg need it.

    An exception cannot pass through C code. So errors of reading, writing and seeking are not raised at once: the first
    one, Ctrl-C included, is kept, and `check` raises it. After `abandoned` is set to True, the file is left alone.

    The class has no `name` on purpose. With a name, libsndfile would read any ``.vox`` or ``.au`` file as samples
    without a header, and FFmpeg might take the name for a URL.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.abandoned = False
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise the first exception that a callback met since the last check, if there is one."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from the file and return the number of bytes; 0 after an error."""
        try:
            return int(self.file.readinto(buffer))  # type: ignore[attr-defined]
        except BaseException as error:
            self._error = self._error or error
            return 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none after an error."""
        try:
            return self.file.read(size)
        except BaseException as error:
            self._error = self._error or error
            return b""

    def write(self, data: bytes) -> int:
        """Write `data` and return the number of bytes written; 0 after an error."""
        if self.abandoned or self._error is not None:
            return 0
        try:
            return self.file.write(data)
        except BaseException as error:
            self._error = error
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it; -1 after an error."""
        if self.abandoned:
            return 0
        try:
            return self.file.seek(offset, whence)  # can fail on a full disk: it first writes what is buffered
        except BaseException as error:
            # A damaged header may send a decoder to a position before the start. The decoder reports that itself.
            if not (
                isinstance(error, (OSError, ValueError, OverflowError))
                and getattr(error, "errno", None) in (None, errno.EINVAL)
            ):
                self._error = self._error or error
            return -1

    def tell(self) -> int:
        """Return the position in the file; 0 if it is abandoned."""
        return 0 if self.abandoned else self.file.tell()
