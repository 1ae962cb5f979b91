"""What a file costs beside its audio, and what a plan of very many costs, in processor time and memory.

    python benchmarks/many_files.py --files 200          the command on so many files of half a second, and again
    python benchmarks/many_files.py --names 100000       the plan of a folder of so many empty files
    python benchmarks/many_files.py --minutes 1 3        the shipped model on songs of so many minutes

The files are separated by a network that is next to nothing. "CPU ms a file" is what the command takes for all of them,
less what it takes for one, divided by their number; `--profile` says where it goes. Processor time, which other
programs disturb less than the clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

PLAN = """
import resource, sys, time
from pathlib import Path
from tiny import fake_separator
from stemsplit.files.inputs import find_inputs
from stemsplit.options import SeparateOptions
from stemsplit.runs.separate import plan

options = SeparateOptions(output=Path(sys.argv[2]))
separator, began = fake_separator(options), time.process_time()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = find_inputs([Path(sys.argv[1])], options.output)
searched = time.process_time()
jobs = plan(found, separator, options)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(f"{len(jobs)} names: found in {searched - began:.1f} CPU s, planned in {time.process_time() - searched:.1f}, "
      f"{grown / 1024:.0f} MiB more memory")
"""
PROFILE = """
import cProfile, pstats, sys, stemsplit.audio.tags as tags, stemsplit.cli as cli
tags.bounded = lambda path: open(path, "rb")  # it takes the profiler's place
profile = cProfile.Profile()
profile.runcall(cli.main, sys.argv[1:])
pstats.Stats(profile).sort_stats("tottime").print_stats(25)
pstats.Stats(profile).sort_stats("cumtime").print_stats("stemsplit", 45)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--names", type=int, default=0)
    parser.add_argument("--minutes", type=float, nargs="*", default=[])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.files:
            overhead(Path(folder), options.files, options.profile)
        if options.names:
            names(Path(folder), options.names)
        for minutes in options.minutes:
            song(Path(folder), minutes)


def overhead(folder: Path, files: int, profile: bool) -> None:
    from tiny import save_tiny

    model, songs = save_tiny(folder / "model"), folder / "songs"
    songs.mkdir()
    for number in range(files):
        noise = np.random.default_rng(number).normal(0, 0.1, (4000, 2))
        soundfile.write(songs / f"song {number:06d}.wav", noise, 8000)
    arguments = ["separate", str(songs), "-m", str(model), "-o", str(folder / "out"), "-q"]
    if profile:
        subprocess.run([sys.executable, "-c", PROFILE, *arguments], env=environment(), check=True)
        return
    one = command(["separate", str(next(songs.iterdir())), *arguments[2:5], str(folder / "one"), "-q"])
    print(f"{files} files: {1000 * (command(arguments) - one) / files:.1f} CPU ms a file")
    print(f"all done already: {1000 * (command(arguments) - one) / files:.1f} CPU ms a file")


def names(folder: Path, count: int) -> None:
    songs = folder / "names"
    for number in range(count):
        path = songs / f"{number // 1000:04d}" / f"song number {number:06d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run([sys.executable, "-c", PLAN, str(songs), str(folder / "planned")], env=environment(), check=True)


def song(folder: Path, minutes: float) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (int(minutes * 60 * 44100), 2)).astype(np.float32)
    soundfile.write(folder / "song.wav", samples, 44100)
    took = command(["separate", str(folder / "song.wav"), "-o", str(folder / f"out{minutes}"), "-q"])
    print(f"{minutes:g} minutes with the shipped model: {took:.1f} CPU s")


def command(arguments: list[str]) -> float:
    """CPU seconds of one run of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "stemsplit", *arguments], env=environment(), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    main()
