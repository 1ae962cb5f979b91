"""Runs of the command, and what is wrong with how they ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNEXPECTED = re.compile("Traceback|unexpected [A-Z]")
"""What only a fault of ours says."""
SLOWEST_SECONDS = 120.0
"""A command that takes longer hangs."""
MANY = Path(__file__).with_name("many.py")


@dataclass(frozen=True)
class Ended:
    """A command that has ended. `code` is None if it had to be killed for its slowness."""

    arguments: tuple[str, ...]
    code: int | None
    stdout: str
    stderr: str

    def faults(self, codes: Sequence[int]) -> list[str]:
        """Return what is wrong: another exit code, a traceback, an error that nobody expected, no reason given."""
        found = []
        if self.code not in codes:
            found.append("it hung" if self.code is None else f"exit code {self.code}")
        said = self.stdout + self.stderr
        found += UNEXPECTED.findall(said)
        if self.code and self.code > 0 and not said.strip():
            found.append("no reason given")
        return [f"{fault}: {' '.join(self.arguments)[:300]}: {said.strip()[-500:]}" for fault in found]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of every command: one thread, nothing of the user's."""
    return (
        os.environ
        | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONFAULTHANDLER": "1", "STEMSPLIT_CONFIG": ""}
        | more
    )


def command(arguments: Sequence[str]) -> list[str]:
    """Return what starts stemsplit."""
    return [sys.executable, "-m", "stemsplit", *arguments]


def start(
    arguments: Sequence[str], cwd: Path, *, limit: Callable[[], None] | None = None, **env: str
) -> subprocess.Popen[bytes]:
    """Start a command; `limit` is called in the new process before it starts."""
    return subprocess.Popen(
        command(arguments),
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=limit,
    )


def finish(process: subprocess.Popen[bytes], arguments: Sequence[str]) -> Ended:
    """Wait for the end of a command, and kill it if it hangs."""
    try:
        stdout, stderr = process.communicate(timeout=SLOWEST_SECONDS)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        code = None
    return Ended(tuple(arguments), code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


def run(arguments: Sequence[str], cwd: Path, *, limit: Callable[[], None] | None = None, **env: str) -> Ended:
    """Run a command to its end."""
    return finish(start(arguments, cwd, limit=limit, **env), arguments)


def run_many(calls: Sequence[Sequence[str]], cwd: Path) -> list[Ended]:
    """Run many commands in one process, which saves their start. Those after one that hangs are run in another."""
    ended: list[Ended] = []
    while len(ended) < len(calls):
        with tempfile.TemporaryDirectory() as name:
            asked, told = Path(name) / "asked.json", Path(name) / "told.jsonl"
            asked.write_text(json.dumps([list(call) for call in calls[len(ended) :]]), encoding="utf-8")
            subprocess.run(
                [sys.executable, str(MANY), str(asked), str(told), str(SLOWEST_SECONDS)],
                cwd=cwd,
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
        for call, line in zip(calls[len(ended) :], lines, strict=False):
            row: dict[str, Any] = json.loads(line)
            ended.append(Ended(tuple(call), row["code"], row["stdout"], row["stderr"]))
        if len(ended) < len(calls):  # the process died or was killed in this one
            ended.append(Ended(tuple(calls[len(ended)]), None, "", "the process died"))
    return ended
