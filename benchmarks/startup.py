"""From the start of the process to the first chunk in the network: `stemsplit separate` with the shipped model.

    python benchmarks/startup.py --repeats 9
    python benchmarks/startup.py --beside OTHER/src     another version of the package as well, in turns

Every measurement is a process of its own: the command itself, which the first chunk ends. Medians; "CPU s" is
processor time, which other programs disturb less. What has not been imported lately is read from disk first. Bytecode
is kept, as it is of an installed package.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]

CHILD = """
import contextlib, json, os, sys, threading, time

def mark(stage):
    marks.append((stage, time.time(), time.process_time()))

first = threading.Lock()  # chunks may go side by side

def first_chunk(self, mixture):
    first.acquire()
    mark("model and song, to the first chunk")
    print(json.dumps(marks), flush=True)
    os._exit(0)

marks = []
mark("python")
from stemsplit.cli import main
mark("import stemsplit.cli")
from stemsplit.cli.layout.screen import Screen
with getattr(Screen(quiet=True), "starting_pytorch", contextlib.nullcontext)():  # older versions import it plainly
    import torch
    mark("import torch")
    import stemsplit.runs.separate, stemsplit.cli.layout.progress, stemsplit.networks.backends.native
    import stemsplit.separation.inference
stemsplit.separation.inference.Inference.__call__ = stemsplit.separation.inference.Inference.once = first_chunk
mark("the other imports")
sys.exit(main(["separate", *sys.argv[1:], "--force", "-q"]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=180.0, help="length of the song")
    parser.add_argument("--beside", type=Path, help="the src folder of another version")
    options = parser.parse_args()
    sources = {"this version": ROOT / "src"} | ({"the other": options.beside.resolve()} if options.beside else {})
    with tempfile.TemporaryDirectory() as folder:
        song = write_song(Path(folder) / "song.flac", options.seconds)
        runs: dict[str, list[dict[str, tuple[float, float]]]] = {name: [] for name in sources}
        for _ in range(options.repeats):
            for name, source in sources.items():
                runs[name].append(run_once(source, song))
    for name, found in runs.items():
        report(f"{name}, medians of {options.repeats}", found)


def write_song(path: Path, seconds: float) -> Path:
    """Noise, stereo, 16 bit."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((44100, 2))
    with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
        for _ in range(round(seconds)):
            file.write(noise)
    return path


def run_once(source: Path, song: Path) -> dict[str, tuple[float, float]]:
    """Stage → wall and processor seconds it took, in order."""
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", CHILD, str(song), "-o", str(song.parent / "out")]
    wall, cpu, stages = time.time(), 0.0, {}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    for stage, then_wall, then_cpu in json.loads(done.stdout):
        stages[stage] = (then_wall - wall, then_cpu - cpu)
        wall, cpu = then_wall, then_cpu
    return stages


def report(title: str, runs: list[dict[str, tuple[float, float]]]) -> None:
    """Print the median of every stage, and of the whole."""
    print(f"\n{title:42}{'wall s':>8}{'CPU s':>8}")
    rows = {stage: [run[stage] for run in runs] for stage in runs[0]}
    rows["all of it"] = [tuple(map(sum, zip(*run.values(), strict=True))) for run in runs]  # type: ignore[misc]
    for stage, found in rows.items():
        wall, cpu = (statistics.median(figures) for figures in zip(*found, strict=True))
        print(f"{stage:42}{wall:8.3f}{cpu:8.3f}")


if __name__ == "__main__":
    main()
