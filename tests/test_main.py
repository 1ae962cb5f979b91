"""The process of the command: its exit code, its output, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENDING = """
import atexit, sys
from stemsplit import __main__ as command

class Told:
    def __del__(self): print("taken apart", flush=True)

def main():
    atexit.register(print, "handler")
    print("said")
    {last}

kept, command.main = Told(), main
command.run()
"""


def ended(last: str) -> subprocess.CompletedProcess[str]:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", ENDING.format(last=last)]
    return subprocess.run(command, capture_output=True, text=True, env=buffered)


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_ends_when_everything_is_said(code: int) -> None:
    """With what others registered for the end, and without taking modules apart."""
    done = ended(f"return {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "said\nhandler\n", "")


def test_threads_are_waited_for() -> None:
    later = "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()"
    done = ended(f"import threading, time; {later}; return 0")
    assert done.stdout.split() == ["said", "thread", "handler"]


def test_a_command_that_does_not_return_ends_in_the_usual_way() -> None:
    done = ended("raise RuntimeError('no way')")
    assert done.returncode == 1
    assert "no way" in done.stderr
    assert done.stdout == "said\nhandler\ntaken apart\n"


def test_output_that_cannot_be_flushed_is_no_success() -> None:
    done = ended("sys.stdout.flush(); print('lost'); import os; os.close(1); return 0")
    assert done.returncode == 120  # Python's own code for it
