"""Standard input, output and error, in whatever state a program gets them.

They may be missing, closed, full, without a reader, in the way of files, or of an encoding that lacks letters. Inside
`owned`, standard output either takes what it is given or says why it cannot, and standard error never stops anything.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from stemsplit.errors import OutputError, UsageError, reason

READER_GONE = 141
"""The exit code when nobody reads our standard output any more, as a shell states that of SIGPIPE."""
HARMLESS = {"\u200c", "\u200d"}
"""Not printable by themselves, but parts of words (Persian) and of emoji."""


class ReaderGone(BaseException):
    """Whoever read our standard output has closed it."""


@contextmanager
def owned() -> Iterator[None]:
    r"""Own the standard streams inside the block.

    Descriptors 0 to 2 that are closed are led to the null device, and stay so: else the next file that is opened would
    get one of them, and with it what C libraries say. Writing to `sys.stdout` raises ReaderGone or OutputError; what
    `sys.stderr` cannot take is lost. Letters that an encoding lacks are written as \x and \u escapes.
    """
    for descriptor in range(3):
        _lead_somewhere(descriptor)
    given = sys.stdout, sys.stderr
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        for descriptor in range(3):
            stack.enter_context(_blocking(descriptor))
        for stream in given:
            stack.enter_context(_escaping(stream))
        stack.enter_context(_plain_logs())
        output, talk = _Output(given[0], nowhere), _Talk(given[1], nowhere)
        sys.stdout, sys.stderr = output, talk
        try:
            yield
        finally:
            talk.give_up()
            sys.stdout, sys.stderr = given


def require_output() -> None:
    """See that standard output is open, before work whose results go there. Raises: OutputError."""
    if _is_closed(sys.stdout):
        raise OutputError("cannot write to standard output: it is closed")


def output_bytes() -> BinaryIO:
    """Return standard output for bytes. Raises: OutputError if it is closed."""
    require_output()
    try:
        return sys.stdout.buffer
    except AttributeError as error:
        raise OutputError("cannot write to standard output: it takes text alone") from error


def require_input() -> None:
    """See that something can be read from standard input. Raises: UsageError."""
    if _is_closed(sys.stdin):
        raise UsageError("standard input is closed: pipe audio into it, or name a file")
    if is_terminal(sys.stdin):
        raise UsageError("standard input is a terminal: pipe audio into it, or name a file")


def input_bytes() -> BinaryIO:
    """Return standard input for bytes. Raises: UsageError if it is closed or a terminal."""
    require_input()
    return sys.stdin.buffer


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person sits at the other end of a stream."""
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def lead_nowhere(stream: Any) -> None:
    """Point a broken stream at the null device; else Python would fail at exit, when it writes what is buffered."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def one_line(text: str) -> str:
    r"""Return text as one line that cannot command a terminal or hide anything: what is not printable is escaped.

    These are control characters (a newline becomes \n), those that turn the direction of writing, lone surrogates,
    which stand for bytes that are no text, and characters without a meaning.
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else _escaped(letter) for letter in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in HARMLESS or unicodedata.category(letter) == "Zs"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


# ---- descriptors ----


def _lead_somewhere(descriptor: int) -> None:
    """Lead a closed descriptor to the null device; child processes inherit it as they would the real one."""
    try:
        os.fstat(descriptor)
    except OSError:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere == descriptor:
                os.set_inheritable(nowhere, True)
            else:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextmanager
def _blocking(descriptor: int) -> Iterator[None]:
    """Let a descriptor wait inside the block; if whoever shares it chose otherwise, reads would end early."""
    try:
        waits = os.get_blocking(descriptor)
        os.set_blocking(descriptor, True)
    except (OSError, AttributeError):  # older versions of Python do not know this on Windows
        yield
        return
    try:
        yield
    finally:
        if not waits:
            with suppress(OSError):
                os.set_blocking(descriptor, False)


# ---- text ----


@contextmanager
def _escaping(stream: Any) -> Iterator[None]:
    """Let a stream escape the letters that its encoding lacks, inside the block."""
    before = getattr(stream, "errors", None)
    if not hasattr(stream, "reconfigure") or _is_closed(stream):
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            stream.reconfigure(errors=before)


@contextmanager
def _plain_logs() -> Iterator[None]:
    """Let what libraries log, some of it in the words of a server, be lines as others are."""
    make = logging.getLogRecordFactory()

    def plain(*args: Any, **named: Any) -> logging.LogRecord:
        record = make(*args, **named)
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        record.msg, record.args = one_line(text), ()
        return record

    logging.setLogRecordFactory(plain)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)


def _is_closed(stream: Any) -> bool:
    return stream is None or bool(getattr(stream, "closed", False))


class _Wrapped:
    """A text stream, or the null device in its place; what this class lacks is asked of the stream."""

    def __init__(self, stream: TextIO | None, nowhere: TextIO) -> None:
        self.closed = _is_closed(stream)
        self._stream: TextIO = nowhere if stream is None or self.closed else stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Return whether a person looks at it."""
        return is_terminal(self._stream)


class _Talk(_Wrapped):
    """Standard error: whatever happens to it, the work goes on."""

    def write(self, text: str) -> int:
        """Write text, or lose it."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written, or keep it for the next time."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def give_up(self) -> None:
        """Lose what could not be passed on, so that Python does not try it at exit, and fail."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            lead_nowhere(self._stream)


class _Output(_Wrapped):
    """Standard output: what it cannot take is an error of ours."""

    def write(self, text: str) -> int:
        """Write text. Raises: ReaderGone, OutputError."""
        if self.closed:
            require_output()
        with self._refusing():
            return self._stream.write(text)

    def flush(self) -> None:
        """Pass on what was written. Raises: ReaderGone, OutputError."""
        with self._refusing():
            self._stream.flush()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            lead_nowhere(self._stream)
            raise ReaderGone from error
        except OSError as error:
            lead_nowhere(self._stream)
            raise OutputError(f"cannot write to standard output: {reason(error)}") from error
