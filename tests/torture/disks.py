"""Disks that are full: no file may grow beyond a random size."""

from __future__ import annotations

import random
import resource
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from torture.ended import run
from torture.world import half_written, leftovers, separating, sounds, undisturbed


def full_disks(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Separate with a limit on the size of files, then without; yield the faults of each."""
    reference = undisturbed(world)
    largest = max(path.stat().st_size for path in (world / "reference").rglob("*.wav"))
    for number in range(count):
        output = f"full-{number}"
        limit = rng.randrange(1, largest)
        ended = run(separating(output), world, limit=partial(_limit, limit))
        found = ended.faults((0, 1)) + half_written(world / output, reference)
        found += leftovers(world / output)
        again = run(separating(output), world)
        found += again.faults((0,))
        found += [f"{name} is missing" for name in reference.keys() - sounds(world / output).keys()]
        shutil.rmtree(world / output, ignore_errors=True)
        yield found


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
