"""Torture the command line, and print how often it held: `make torture`.

    PYTHONPATH=tests python -m torture                  # everything: some minutes
    PYTHONPATH=tests python -m torture kills --count 5 --seed 1

What it draws depends on the seed alone, so that a fault can be had again. It ends with 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from torture.changes import changed_songs, rivals
from torture.disks import full_disks
from torture.hubs import misbehaving_hubs
from torture.kills import interrupts, kills
from torture.lengths import long_recordings
from torture.models import malformed_models
from torture.sounds import malformed_audio
from torture.words import hostile_words
from torture.world import SONGS, make_world

Kind = Callable[[Path, int, random.Random], Iterator[list[str]]]
KINDS: dict[str, tuple[Kind, int]] = {
    "kills": (kills, 50),
    "interrupts": (interrupts, 20),
    "full-disks": (full_disks, 10),
    "changes": (changed_songs, 20),
    "rivals": (rivals, 20),
    "hubs": (misbehaving_hubs, 60),
    "lengths": (long_recordings, 4),
    "audio": (malformed_audio, 320),
    "models": (malformed_models, 240),
    "words": (hostile_words, 400),
}
"""Every kind with how often it is tried."""


def torture(kind: str, count: int, seed: int, songs: int = SONGS) -> list[list[str]]:
    """Try one kind in a world of its own; return the faults of every try."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        return list(KINDS[kind][0](make_world(Path(name), songs), count, random.Random(f"{kind} {seed}")))


def main() -> int:
    """Print a line per kind; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--count", type=int, help="tries of each kind")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    bad = 0
    for kind in asked.kinds or KINDS:
        started = time.monotonic()
        tries = torture(kind, asked.count or KINDS[kind][1], asked.seed)
        faults = [fault for found in tries for fault in found]
        held = sum(not found for found in tries)
        print(f"{kind:12} {held} of {len(tries)} held, {time.monotonic() - started:.0f} s", flush=True)
        for fault in faults:
            print(f"    {fault}", flush=True)
        bad += len(tries) - held
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
