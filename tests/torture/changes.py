"""Songs that change, shrink or vanish while they are read, and two runs that want one output."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from torture.ended import finish, run, start
from torture.world import half_written, leftovers, separating, sounds, undisturbed


def changed_songs(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Do something to a song at a random moment of a run, then run again with the song as it was; yield the faults."""
    started = time.monotonic()
    reference = undisturbed(world)
    longest = time.monotonic() - started
    kept = shutil.copytree(world / "songs", world / "kept")
    for number in range(count):
        output = f"changed-{number}"
        process = start(separating(output), world)
        time.sleep(rng.uniform(0.2, 0.9) * longest)
        song = rng.choice(sorted((world / "songs").iterdir()))
        rng.choice(CHANGES)(song, rng)
        found = finish(process, separating(output)).faults((0, 1))
        whole = {name for name, digest in sounds(world / output).items() if reference.get(name) == digest}
        # what was made of the changed song is not compared
        others = {name for name in sounds(world / output) if not name.startswith(f"{song.stem}/")}
        found += [f"{name} is not whole" for name in others - whole]
        found += leftovers(world / output)
        for path in kept.iterdir():
            shutil.copy2(path, world / "songs" / path.name)
        again = run(separating(output, "--force"), world)
        found += again.faults((0,)) + _incomplete(world, output, reference)
        shutil.rmtree(world / output, ignore_errors=True)
        yield found


def rivals(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Start two runs on one output, one a random moment after the other; yield the faults of each pair."""
    started = time.monotonic()
    reference = undisturbed(world)
    longest = time.monotonic() - started
    for number in range(count):
        output = f"rivals-{number}"
        first = start(separating(output), world)
        time.sleep(rng.uniform(0, 1) * longest)
        second = start(separating(output), world)
        found = [fault for one in (first, second) for fault in finish(one, separating(output)).faults((0,))]
        found += _incomplete(world, output, reference) + leftovers(world / output)
        shutil.rmtree(world / output, ignore_errors=True)
        yield found


def _cut(song: Path, rng: random.Random) -> None:
    os.truncate(song, rng.randrange(song.stat().st_size))


def _overwrite(song: Path, rng: random.Random) -> None:
    with song.open("r+b") as file:
        file.seek(rng.randrange(song.stat().st_size))
        file.write(rng.randbytes(5000))


def _replace(song: Path, rng: random.Random) -> None:
    other = song.with_name(f".{song.name}.new")
    other.write_bytes(rng.randbytes(50_000))
    other.replace(song)


def _grow(song: Path, rng: random.Random) -> None:
    with song.open("ab") as file:
        file.write(rng.randbytes(100_000))


def _remove(song: Path, rng: random.Random) -> None:
    song.unlink()


CHANGES: tuple[Callable[[Path, random.Random], None], ...] = (_cut, _overwrite, _replace, _grow, _remove)


def _incomplete(world: Path, output: str, reference: dict[str, str]) -> list[str]:
    missing = reference.keys() - sounds(world / output).keys()
    return [f"{name} is missing" for name in missing] + half_written(world / output, reference)
