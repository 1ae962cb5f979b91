"""The standard streams as a program may get them: missing, closed, full, unread, of a narrow encoding."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stemsplit.errors import OutputError, UsageError
from stemsplit.machine import streams

posix = pytest.mark.skipif(os.name != "posix", reason="/dev/full, shells and descriptors of POSIX")


class Broken(io.StringIO):
    """A stream that nothing can be written to."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


def put_in_place(monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    for name, stream in given.items():
        monkeypatch.setattr(sys, name, stream)


def test_letters_that_an_encoding_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = [io.TextIOWrapper(io.BytesIO(), encoding=name, errors="strict") for name in ("cp1252", "ascii")]
    put_in_place(monkeypatch, stdout=narrow[0], stderr=narrow[1])
    with streams.owned():
        print("sø → 歌", flush=True)
        print("sø → 歌", file=sys.stderr, flush=True)
    assert narrow[0].buffer.getvalue() == b"s\xf8 \\u2192 \\u6b4c\n"  # type: ignore[attr-defined]
    assert narrow[1].buffer.getvalue() == b"s\\xf8 \\u2192 \\u6b4c\n"  # type: ignore[attr-defined]
    assert [stream.errors for stream in narrow] == ["strict", "strict"]
    assert sys.stdout is narrow[0]


@pytest.mark.parametrize("gone", [None, "closed"])
def test_what_is_closed_is_said_or_lost(monkeypatch: pytest.MonkeyPatch, gone: str | None) -> None:
    closed = io.StringIO()
    closed.close()
    stream = None if gone is None else closed
    put_in_place(monkeypatch, stdin=stream, stdout=stream, stderr=stream)
    with streams.owned():
        print("lost", file=sys.stderr, flush=True)
        assert not sys.stderr.isatty()
        sys.stdout.flush()  # nothing was written: nothing is wrong
        for use in (streams.require_output, streams.output_bytes, lambda: print("data")):
            with pytest.raises(OutputError, match="standard output: it is closed"):
                use()
        with pytest.raises(UsageError, match="standard input is closed"):
            streams.input_bytes()
    assert sys.stdout is stream


def test_a_full_stdout_is_an_error_and_a_full_stderr_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(28, "No space left on device")
    put_in_place(monkeypatch, stdout=Broken(full), stderr=Broken(full))
    with streams.owned():
        print("lost", file=sys.stderr, flush=True)
        with pytest.raises(OutputError, match="standard output: no space left on device"):
            print("data")
    put_in_place(monkeypatch, stdout=Broken(BrokenPipeError(32, "Broken pipe")), stderr=Broken(full))
    with streams.owned(), pytest.raises(streams.ReaderGone):
        print("data")


def test_what_libraries_log_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("a.library")
    with streams.owned():
        handler = logging.StreamHandler()
        logger.addHandler(handler)
        logger.warning("a server says %s", "\x1b[2J")
        logger.warning("%d", "not a number \x1b[2J")
        logger.removeHandler(handler)
    assert capsys.readouterr().err == "a server says \\x1b[2J\n%d\n"


def test_bytes_need_a_stream_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, stdout=io.StringIO())
    with streams.owned(), pytest.raises(OutputError, match="text alone"):
        streams.output_bytes()


@posix
def test_closed_descriptors_are_not_given_to_files(tmp_path: Path) -> None:
    code = f"""
import os
from stemsplit.machine.streams import owned
with owned():
    file = open({str(tmp_path / "file")!r}, "w")
    os.write(1, b"noise of a library"); os.write(2, b"noise of a library")
    file.write(str(file.fileno() > 2))
"""
    subprocess.run(["sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, code], check=True)
    assert (tmp_path / "file").read_text() == "True"


@posix
def test_a_pipe_that_does_not_wait_is_waited_for() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    code = "import sys, stemsplit.machine.streams as s\nwith s.owned(): print(len(s.input_bytes().read()))"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=ours, stdout=subprocess.PIPE)
    os.set_blocking(ours, False)
    os.write(theirs, b"first")
    assert process.stdout is not None
    with process.stdout:
        os.write(theirs, b"second")
        os.close(theirs)
        assert process.stdout.read() == b"11\n"
    assert process.wait() == 0
    os.close(ours)
