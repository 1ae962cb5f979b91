"""Speed and peak memory of `stemsplit separate`, from file to files. The network alone: backends.py.

    python benchmarks/speed.py                  the shipped model on half a minute
    python benchmarks/speed.py --minutes 3 30   does memory grow with the length of the song?
    python benchmarks/speed.py --minutes 1 --formats wav flac mp3 --beside OTHER/src     another version, in turns

Every measurement runs in a process of its own, start-up included. "s/s" is wall seconds per second of stereo audio,
with the model's own overlap.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ts-bsmamba2-mini"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", nargs="+", type=float, default=[0.5], help="lengths of the songs for the command")
    parser.add_argument("--formats", nargs="+", default=["wav"], help="what stems are written as (wav)")
    parser.add_argument("--beside", type=Path, help="the src folder of another version of the package")
    parser.add_argument("--overlap", help="overlap of chunks for the command, instead of the model's own")
    options = parser.parse_args()
    print(f"{options.threads} threads, medians of {options.repeats}")
    measure_files(options.models, options)


def measure_files(names: list[str], options: argparse.Namespace) -> None:
    """Print wall time, processor time and peak memory of `stemsplit separate` for songs of several lengths."""
    sources = {"": ROOT / "src"} | ({" (the other)": options.beside.resolve()} if options.beside else {})
    print(f"\n{'file to files':36}{'song min':>9}{'wall s':>9}{'s/s':>8}{'CPU s':>9}{'peak GB':>9}")
    repeats = 1 if max(options.minutes) > 2 else options.repeats
    with tempfile.TemporaryDirectory() as folder:
        for name, minutes, form in itertools.product(names, options.minutes, options.formats):
            song = write_song(Path(folder) / "song.wav", minutes)
            runs: dict[str, list[Run]] = {version: [] for version in sources}
            for version in list(sources) * repeats:
                how = {"threads": options.threads, "overlap": options.overlap, "form": form}
                runs[version].append(run_command(song, name, Path(folder), source=sources[version], **how))
            for version, of_version in runs.items():
                print_runs(f"{name} to {form}{version}", minutes, of_version)


def print_runs(title: str, minutes: float, runs: list[Run]) -> None:
    """One line: medians, and the most memory."""
    wall, cpu = (statistics.median(getattr(run, figure) for run in runs) for figure in ("wall", "cpu"))
    peak = max(run.peak_gb for run in runs)
    print(f"{title:36}{minutes:9.1f}{wall:9.1f}{wall / (60 * minutes):8.3f}{cpu:9.1f}{peak:9.3f}", flush=True)


def write_song(path: Path, minutes: float) -> Path:
    """Noise bursts, stereo, 16 bit, block by block."""
    rng, rate = np.random.default_rng(0), 44100
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        for second in range(round(60 * minutes)):
            level = 0.05 + 0.1 * (second % 4)
            file.write((level * rng.standard_normal((rate, 2))).clip(-1, 1).astype(np.float32))
    return path


class Run(NamedTuple):
    """Seconds of the clock and of the processor, and the most memory in GB."""

    wall: float
    cpu: float
    peak_gb: float


def run_command(
    song: Path,
    model: str,
    folder: Path,
    *,
    threads: int,
    overlap: str | None = None,
    form: str = "wav",
    source: Path = ROOT / "src",
) -> Run:
    """One call of the command, start-up included."""
    command = [sys.executable, "-m", "stemsplit", "separate", str(song), "-m", model, "--force", "-q"]
    command += ["-o", str(folder / "out"), "--format", form, *(["--overlap", overlap] if overlap else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(source)}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


if __name__ == "__main__":
    main()
