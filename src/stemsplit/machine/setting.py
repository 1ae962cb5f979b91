"""A setting of the whole process that several pieces of work want changed for as long as they last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedSetting(Generic[T]):
    """The first to come changes it, the last to leave puts it back, in whatever order they leave."""

    def __init__(self, read: Callable[[], T], write: Callable[[T], object]) -> None:
        self._read, self._write = read, write
        self._lock, self._users = threading.Lock(), 0
        self._before: T

    @contextmanager
    def changed_to(self, value: T) -> Iterator[None]:
        """Inside, the setting is `value`; all users want the same one."""
        with self._lock:
            if self._users == 0:
                self._before = self._read()
                self._write(value)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._write(self._before)
