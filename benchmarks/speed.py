"""Speed and peak memory, per model: the network alone, and the command from file to files.

    python benchmarks/speed.py                              the shipped model and the full network with random weights
    python benchmarks/speed.py --minutes 3 30 --file-only   does memory grow with the length of the song?

Every measurement runs in a process of its own; figures are medians of repeats that take turns, so that a machine that
slows down slows all of them. "s/s" is seconds of computing per second of stereo audio, without overlap for the network
alone and with the model's own overlap for files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

PUBLISHED = ("ts-bsmamba2", "l-ts-bsmamba2")
"""Networks that do not ship: timed with random weights, which cost the same."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ts-bsmamba2-mini", "l-ts-bsmamba2", "ts-bsmamba2"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", nargs="+", type=float, default=[0.5], help="lengths of the songs for the command")
    parser.add_argument("--overlap", help="overlap of chunks for the command, instead of the model's own")
    parser.add_argument("--file-only", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(time_network(options.one[0], float(options.one[1]), options.threads)))
        return
    print(f"{options.threads} threads, medians of {options.repeats}")
    if not options.file_only:
        measure_networks(options.models, options.threads, options.repeats)
    measure_files([name for name in options.models if name not in PUBLISHED], options)


def measure_networks(names: list[str], threads: int, repeats: int) -> None:
    """Print s/s and peak memory of one chunk, models taking turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            command = [sys.executable, __file__, "--one", name, "0", "--threads", str(threads)]
            found[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    first = statistics.median(row["seconds_per_second"] for row in found[names[0]])
    print(f"\n{'network alone':24}{'s/s':>8}{'ratio':>8}{'chunk s':>9}{'peak GB':>9}")
    for name, rows in found.items():
        speed = statistics.median(row["seconds_per_second"] for row in rows)
        peak = max(row["peak_gb"] for row in rows)
        print(f"{name:24}{speed:8.3f}{speed / first:8.2f}{rows[0]['chunk_seconds']:9.1f}{peak:9.2f}")


def time_network(name: str, chunk_seconds: float, threads: int) -> dict[str, float]:
    """Time one chunk, warm, in this process."""
    import torch

    from stemsplit.checkpoint import load_network
    from stemsplit.memory import keep_freed_memory
    from stemsplit.networks.bsmamba import CONFIGS, BSMamba

    torch.set_num_threads(threads)
    keep_freed_memory()
    network = BSMamba(CONFIGS[name]).eval() if name in PUBLISHED else load_network(name)
    rate = network.config.sample_rate
    samples = round(chunk_seconds * rate) or network.config.chunk_samples
    mixture = 0.1 * torch.randn(1, 2, samples)
    with torch.inference_mode():
        network(mixture)
        start = time.perf_counter()
        network(mixture)
        taken = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds_per_second": taken / (samples / rate), "chunk_seconds": samples / rate, "peak_gb": peak}


def measure_files(names: list[str], options: argparse.Namespace) -> None:
    """Print wall time and peak memory of `stemsplit separate` for songs of several lengths."""
    print(f"\n{'file to files':24}{'song min':>9}{'wall s':>9}{'s/s':>8}{'peak GB':>9}")
    repeats = 1 if max(options.minutes) > 2 else options.repeats
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for minutes in options.minutes:
                song = _write_song(Path(folder) / "song.wav", minutes)
                runs = [_run_command(song, name, options, Path(folder)) for _ in range(repeats)]
                wall = statistics.median(run[0] for run in runs)
                peak = max(run[1] for run in runs)
                print(f"{name:24}{minutes:9.1f}{wall:9.1f}{wall / (60 * minutes):8.3f}{peak:9.3f}", flush=True)


def _write_song(path: Path, minutes: float) -> Path:
    """Noise bursts, stereo, 16 bit, block by block."""
    rng, rate = np.random.default_rng(0), 44100
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        for second in range(round(60 * minutes)):
            level = 0.05 + 0.1 * (second % 4)
            file.write((level * rng.standard_normal((rate, 2))).clip(-1, 1).astype(np.float32))
    return path


def _run_command(song: Path, model: str, options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Return wall seconds and peak memory in GB of one call of the command."""
    command = [sys.executable, "-m", "stemsplit", "separate", str(song), "-m", model, "--force", "-q"]
    command += ["-o", str(folder / "out"), *(["--overlap", options.overlap] if options.overlap else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": str(ROOT / "src")}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1e6


if __name__ == "__main__":
    main()
