"""This checkout beside another one: the CPU time of a network's chunk, and of a song from file to files, in turns.

    OMP_NUM_THREADS=1 python benchmarks/against.py BEFORE --model ts-bsmamba2-mini --rounds 3
    OMP_NUM_THREADS=1 python benchmarks/against.py BEFORE --model ts-bsmamba2 --rounds 1 --seconds 6

BEFORE is another checkout whose native kernels are built. Every figure is the median of all calls, in processor
seconds, so that what else runs on the machine counts less; the peak of memory is a median as well. Networks without
weights here get random ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
CHUNKS = """
import contextlib, json, sys, time
import torch
from stemsplit.machine.memory import keep_freed_memory
from stemsplit.networks.backends.choose import bind, choose
from stemsplit.weights.checkpoint import load_network
name, precision, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
keep_freed_memory()
torch.manual_seed(0)
network = load_network(name)
bind(network, choose("cpu"))
mixture = 0.1 * torch.randn(1, 2, network.config.chunk_samples)
half = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
found = []
with torch.inference_mode(), half:
    network(mixture)
    for _ in range(calls):
        began = time.process_time()
        network(mixture)
        found.append(time.process_time() - began)
print(json.dumps(found))
"""
RANDOM = """
import sys
from pathlib import Path
import torch
from stemsplit.networks.bsmamba import CONFIGS, BSMamba
from stemsplit.weights.checkpoint import save
torch.manual_seed(0)
if sys.argv[1] in CONFIGS:
    print(save(BSMamba(CONFIGS[sys.argv[1]]), Path(sys.argv[2])), end="")
"""
SONG = """
import sys
import numpy, soundfile
samples = numpy.random.default_rng(0).standard_normal((44100 * int(sys.argv[2]), 2)).cumsum(0)
samples -= numpy.linspace(0, 1, len(samples))[:, None] * samples[-1]
soundfile.write(sys.argv[1], samples / abs(samples).max() * 0.8, 44100)
"""


def main() -> None:
    """Print a line for every checkout and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--model", default="ts-bsmamba2-mini", help="(ts-bsmamba2-mini)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=5, help="chunks in a round (5)")
    parser.add_argument("--seconds", type=int, default=60, help="length of the song; 0 leaves files out (60)")
    options = parser.parse_args()
    trees = {"before": options.before.resolve(), "now": ROOT}
    chunks: dict[tuple[str, str], list[float]] = {(t, p): [] for t in trees for p in ("fp32", "bf16")}
    files: dict[str, list[tuple[float, float]]] = {tree: [] for tree in trees}
    with tempfile.TemporaryDirectory() as folder:
        model = python(ROOT, "-c", RANDOM, options.model, f"{folder}/model") or options.model
        if options.seconds:
            python(ROOT, "-c", SONG, f"{folder}/song.wav", str(options.seconds))
        for _ in range(options.rounds):
            for (tree, precision), found in chunks.items():
                found += json.loads(python(trees[tree], "-c", CHUNKS, model, precision, str(options.calls)))
            for tree, spent in files.items():
                if options.seconds:
                    spent.append(separated(trees[tree], Path(folder), model))
    for (tree, precision), found in chunks.items():
        print(f"{options.model}, a chunk, {precision}, {tree}: {1e3 * median(found):.0f} ms")
    for tree, spent in files.items():
        if spent:
            cpu, peak = (median(figures) for figures in zip(*spent, strict=True))
            print(f"file to files, {options.seconds} s, {tree}: {cpu:.2f} s, peak {peak:.0f} MB")


def separated(tree: Path, folder: Path, model: str) -> tuple[float, float]:
    """Return the processor seconds of the command, with its defaults, and its peak of memory in MB."""
    words = ["separate", f"{folder}/song.wav", "-m", model, "-o", f"{folder}/out", "--force", "-q"]
    process = subprocess.Popen([sys.executable, "-m", "stemsplit", *words], env=environment(tree))
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{tree} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def python(tree: Path, *arguments: str) -> str:
    """Run Python with a checkout's package, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(tree), capture_output=True, text=True, check=True
    )
    return done.stdout


def environment(tree: Path) -> dict[str, str]:
    """Return the environment in which a checkout's package is used as if it was installed."""
    return {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": ""}


if __name__ == "__main__":
    main()
