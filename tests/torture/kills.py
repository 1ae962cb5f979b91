"""Runs that are killed or interrupted at random moments, and resumed until everything is there."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from torture.ended import SLOWEST_SECONDS, UNEXPECTED, run, start
from torture.world import half_written, leftovers, separating, sounds, undisturbed

CODES = {signal.SIGKILL: (-9,), signal.SIGINT: (130,), signal.SIGTERM: (143, -15)}


def kills(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Send SIGKILL `count` times; yield the faults of each."""
    return _disturbed(world, count, rng, signal.SIGKILL)


def interrupts(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Send SIGINT or SIGTERM `count` times; yield the faults of each."""
    return _disturbed(world, count, rng, signal.SIGINT, signal.SIGTERM)


def _disturbed(world: Path, count: int, rng: random.Random, *signals: signal.Signals) -> Iterator[list[str]]:
    started = time.monotonic()
    reference = undisturbed(world)
    longest, number, output = time.monotonic() - started, 0, "disturbed-0"
    while number < count:
        sent = rng.choice(signals)
        ended, err = _end(world, separating(output), rng.uniform(0.2, 1.1) * longest, sent)
        found = half_written(world / output, reference) if (world / output).exists() else []
        if UNEXPECTED.search(err):
            found.append(err[-500:])
        if ended is None:  # it was done before the signal came
            yield from _complete(world, output, reference)
            output = f"disturbed-{number}-next"
            continue
        if ended not in CODES[sent]:
            found.append(f"exit code {ended} after {sent.name}: {err[-300:]}")
        number += 1
        yield found
    run(separating(output), world)
    yield from _complete(world, output, reference)


def _end(world: Path, arguments: list[str], seconds: float, sent: signal.Signals) -> tuple[int | None, str]:
    """Start a command and send it a signal after so many seconds: exit code, None if it was done before, and stderr."""
    process = start(arguments, world)
    try:
        _, err = process.communicate(timeout=seconds)
        return None if process.returncode == 0 else process.returncode, err.decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.send_signal(sent)
    try:
        _, err = process.communicate(timeout=SLOWEST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return 70, f"it did not end after {sent.name}"
    return None if process.returncode == 0 else process.returncode, err.decode(errors="replace")


def _complete(world: Path, output: str, reference: dict[str, str]) -> Iterator[list[str]]:
    made = sounds(world / output)
    missing = [f"{name} is missing after the last run" for name in reference.keys() - made.keys()]
    yield missing + half_written(world / output, reference) + leftovers(world / output)
