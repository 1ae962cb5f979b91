"""Does the bar of `stemsplit separate` tell the truth? Its share, beside the share of the time that has passed.

    python benchmarks/bar.py SONG -f mp3
    python benchmarks/bar.py SONG -f flac --cores 1 --columns 60

The command runs in a pseudo-terminal, and what it draws there is read as a person would. Its time begins when the bar
first appears and ends with the process. Beside the clock on the wall the processor time of the command is told: on a
single core both are the same on a quiet machine. --alone gives the command the latter for the former, so that a busy
machine shows what a quiet one would (with --cores 1). Everything but SONG and these options goes to `stemsplit
separate`.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from typing import NamedTuple

COMMAND = ["-m", "stemsplit"]
ALONE = ["-c", "import time; time.monotonic = time.process_time; from stemsplit.__main__ import run; run()"]
PERCENT = re.compile(rb"(\d+)%")
READ_BYTES = 1 << 16


class Moment(NamedTuple):
    """When something was seen: seconds on the wall, and of the processor since the command began."""

    wall: float
    processor: float


def watched(command: Sequence[str], *, cores: int, columns: int) -> tuple[list[tuple[Moment, int]], Moment]:
    """Run a command in a terminal. Return (moment, per cent) of every change of its bar, and when it ended."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    environment = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": str(len(chosen))}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, chosen)), *command], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    clock = (~process.pid << 3) | 2  # Linux's clock of the processor time of another process
    seen: list[tuple[Moment, int]] = []
    last = b""
    while drawn := _read(ours):
        last = drawn
        for percent in map(int, PERCENT.findall(drawn)):
            if not seen or seen[-1][1] != percent:
                seen.append((Moment(time.monotonic(), time.clock_gettime(clock)), percent))
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"the command failed: {last!r}")
    return seen, Moment(time.monotonic(), used.ru_utime + used.ru_stime)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:  # Linux says so when the process has gone
        return b""


def main() -> None:
    """Print how far the bar is off, and for how long it said 100 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("song")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--alone", action="store_true")
    given, others = parser.parse_known_args()
    program = ALONE if given.alone else COMMAND
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *program, "separate", given.song, "-o", folder, "--force", *others]
        seen, ended = watched(command, cores=given.cores, columns=given.columns)
    print(f"{' '.join(others) or 'wav'}, {given.cores} cores: {ended.wall - seen[0][0].wall:.1f} s with a bar")
    for clock in Moment._fields:
        report(clock, [(getattr(at, clock), share) for at, share in seen], getattr(ended, clock))
    backwards = sum(later[1] < earlier[1] for earlier, later in itertools.pairwise(seen))
    print(f"  went back {backwards} times")


def report(clock: str, seen: Sequence[tuple[float, int]], ended: float) -> None:
    """Print how far the bar was off by one clock."""
    began, shares = seen[0][0], [share for _, share in seen]
    passed = [(moment - began) / (ended - began) * 100 for moment, _ in seen]
    # Just before a change the bar still showed the last share.
    shown = [*zip(passed, shares, strict=True), *zip([*passed[1:], 100.0], shares, strict=True)]
    off, at, share = max((abs(share - moment), moment, share) for moment, share in shown)
    full = next((moment for moment, share in zip(passed, shares, strict=True) if share == 100), 100.0)
    print(f"  {clock}: furthest off by {off:.0f} points: {share} % shown when {at:.0f} % of the time had passed;")
    print(f"    100 % shown for the last {100 - full:.0f} % of the time")


if __name__ == "__main__":
    main()
