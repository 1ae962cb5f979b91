"""Ctrl-C, SIGTERM and SIGHUP as exceptions, so that temporary files are removed on the way out.

They wait while something must not be left half done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

CTRL_C = 130
_ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_pending: list[BaseException] = []


class Terminated(BaseException):
    """Another process asked this one to end."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn signals into exceptions inside the block; afterwards they do what they did before."""
    _pending.clear()
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread only
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDINGS)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup, or a script's background job
            signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def pending() -> BaseException | None:
    """Return the signal that came, also when it came inside a C callback, which cannot pass an exception on."""
    return _pending[0] if _pending else None


def check() -> None:
    """Raise the signal that came, if one did."""
    if _pending:
        raise _pending[0]


def _raise(number: int, frame: FrameType | None) -> Any:
    error = KeyboardInterrupt() if number == signal.SIGINT else Terminated(128 + number)
    _pending.append(error)
    if not _in_callback(frame):
        raise error


def _in_callback(frame: FrameType | None) -> bool:
    """Whether C waits for this very frame or one above it: an exception would be printed there and forgotten."""
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == "stemsplit.audio.containers.callbacks" or (
            module == "soundfile" and frame.f_code.co_name.startswith("vio_")
        ):
            return True
        frame = frame.f_back
    return False


@contextmanager
def signals_wait() -> Iterator[None]:
    """Let Ctrl-C and its kin wait until the block has ended. Python delivers them to the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {}
    try:
        for number in (signal.SIGINT, *_ENDINGS):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
