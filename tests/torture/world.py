"""A small world: songs of a second or two, a network of random weights, and what an undisturbed run makes of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from tiny import save_tiny, write_song

from torture.ended import run

SONGS = 6
RATE = 44100


def make_world(folder: Path, songs: int = SONGS) -> Path:
    """Write model/ and songs/."""
    save_tiny(folder / "model")
    rng = np.random.default_rng(0)
    for number in range(songs):
        samples = rng.normal(0, 0.1, (2, RATE * 2 + number * 777))
        write_song(folder / "songs" / f"song {number}.{('wav', 'flac')[number % 2]}", samples, RATE)
    return folder


def separating(output: str, *more: str) -> list[str]:
    """Return the arguments that separate the world's songs."""
    return ["separate", "songs", "-o", output, "-m", "model", "--device", "cpu", "-q", *more]


def undisturbed(world: Path) -> dict[str, str]:
    """Separate the songs without a disturbance; see `sounds`."""
    ended = run(separating("reference"), world)
    if ended.code != 0:
        raise RuntimeError(f"not even an undisturbed run works: {ended.stderr}")
    return sounds(world / "reference")


def sounds(output: Path) -> dict[str, str]:
    """Return the hash of every stem below a folder. Manifests say how long it took, and are left out."""
    names = (path.relative_to(output).as_posix() for path in output.rglob("*.wav"))
    seen = [name for name in names if "/." not in f"/{name}"]  # what is hidden is not finished
    return {name: hashlib.sha256((output / name).read_bytes()).hexdigest() for name in seen}


def half_written(output: Path, reference: dict[str, str]) -> list[str]:
    """Return the stems that are there, but are not what an undisturbed run made."""
    return [f"{name} is not whole" for name, digest in sounds(output).items() if reference.get(name) != digest]


def leftovers(output: Path) -> list[str]:
    """Return what nobody should see when everything is done."""
    return [f"{path.name} was left behind" for path in output.rglob(".*")]
