"""`python -m stemsplit` is the command `stemsplit`: a process that ends when everything is said and written."""

import atexit
import os
import sys

from stemsplit.cli import main


def run() -> None:
    """Run the command line of this process, and leave with its exit code."""
    codes: list[int] = []
    atexit.register(_leave, codes)  # before anything else is, so that it is called last
    codes.append(main())
    sys.exit(codes[0])


def _leave(codes: list[int]) -> None:
    """End the process without taking PyTorch apart, which would take a tenth of a short song's time.

    By now Python has waited for all threads, and has called what others registered; files are closed by who opened
    them. What is left is to flush. If that fails, or the command did not return, Python ends in its own way.
    """
    if not codes:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                return
    os._exit(codes[0])


if __name__ == "__main__":
    run()
