"""This program beside the `demucs` package on one checkpoint: CPU time, time and memory from file to files, in turns.

    pip install --no-deps --target FOLDER demucs einops julius lameenc sphn tqdm omegaconf antlr4-python3-runtime
    python benchmarks/beside_demucs.py --peers FOLDER                        one thread and two, 30 s of noise
    python benchmarks/beside_demucs.py --peers FOLDER --threads 1 --seconds 30 300 --rounds 1     does memory grow
    python benchmarks/beside_demucs.py --peers FOLDER --song song.wav --channels 8                a small network

demucs' own class makes the network, in the shape of the released one unless --channels says less, with random weights,
and demucs' own code writes it as it writes its .th files. Both programs read that file: `demucs --shifts 0 --float32`
and `stemsplit separate -m FILE.th --bit-depth 32f`. So both compute the same chunks, and write the same stems; the
last column says how far apart these are, over the loudest sample. Start-up is counted: a separation of a fifth of a
second before keeps our conversion of the file out of it, and warms the disk for both.

Figures are medians of all rounds, ratios are ours over theirs: below 1 is faster, or less.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")
NAME = "955717e8"
WARM_SECONDS = 0.2
MAKE = """
import sys
from fractions import Fraction
from pathlib import Path
import torch
from demucs.htdemucs import HTDemucs
from demucs.states import save_with_checksum, serialize_model
from omegaconf import OmegaConf
folder, channels = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
sizes = {} if channels == 48 else {"channels": channels}
bottom = 512 if channels == 48 else 16 * channels // 4
network = HTDemucs(
    sources=sys.argv[3:], segment=Fraction(39, 5), dconv_mode=3, bottom_channels=bottom, t_layers=5, t_heads=8, **sizes
)
print(sum(value.numel() for value in network.parameters()))
save_with_checksum(serialize_model(network, OmegaConf.create({"epochs": 0})), folder / "955717e8.th")
"""
"""demucs' own way to make and write a network. The released one has 48 channels and 41,984,456 parameters."""


class Spent(NamedTuple):
    """Seconds of the processor and of the clock, and the most memory in GB."""

    cpu: float
    wall: float
    peak: float


def main() -> None:
    """Print a line for every length and number of threads."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        os.environ["STEMSPLIT_CACHE"] = str(folder / "cache")
        parameters = made(folder / "models", options)
        songs = [options.song] if options.song else [noise(folder / f"{s:g}.wav", s) for s in options.seconds]
        print(f"HTDemucs of {parameters:,} parameters, medians of {options.rounds}", flush=True)
        for command in (ours, theirs):
            spend(command(noise(folder / "warm.wav", WARM_SECONDS), folder), options.peers, 1)
        print(f"{'':16}{'CPU s/s':>18}{'ratio':>7}{'s/s':>18}{'ratio':>7}{'peak GB':>14}{'ratio':>7}{'apart':>10}")
        for threads in options.threads:
            for song in songs:
                beside(song, folder, threads, options)
    print(f"\n{processor()}")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="folder with the packages of demucs")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(1 2)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0], help="lengths of noise (30)")
    parser.add_argument("--song", type=Path, help="a WAV at 44.1 kHz instead of noise")
    parser.add_argument("--channels", type=int, default=48, help="of the first layer: less is a smaller network (48)")
    options = parser.parse_args()
    if options.channels % 8:
        parser.error("--channels is a multiple of 8")
    return options


def made(folder: Path, options: argparse.Namespace) -> int:
    """Write the checkpoint, and return how many parameters it has."""
    words = [sys.executable, "-c", MAKE, str(folder), str(options.channels), *STEMS]
    done = subprocess.run(words, env=environment(options.peers, 1), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"demucs made no network:\n{done.stderr}")
    return int(done.stdout)


def noise(path: Path, seconds: float) -> Path:
    """Write noise that comes and goes, second by second. Its channels are alike, as those of songs are mostly.

    Where they are not, `separate` first tries pieces, to find out whether the voice stands at one side.
    """
    rng, samples = np.random.default_rng(0), round(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for number, begin in enumerate(range(0, samples, RATE)):
            level = 0.02 + 0.03 * (number % 4)
            count = min(RATE, samples - begin)
            both, own = rng.standard_normal((count, 1)), rng.standard_normal((count, 2))
            file.write(level * (0.9 * both + 0.4 * own))
    return path


def ours(song: Path, folder: Path) -> list[str]:
    """Return our command."""
    (model,) = (folder / "models").glob("*.th")
    words = ["-m", "stemsplit", "separate", str(song), "-m", str(model), "-o", str(folder / "ours"), "--force", "-q"]
    return [*words, "--bit-depth", "32f", "--device", "cpu"]


def theirs(song: Path, folder: Path) -> list[str]:
    """Return that of the package."""
    words = ["-m", "demucs", "--repo", str(folder / "models"), "-n", NAME, "-o", str(folder / "theirs"), "-d", "cpu"]
    return [*words, "--shifts", "0", "--float32", "--clip-mode", "none", str(song)]


def environment(peers: str, threads: int) -> dict[str, str]:
    """Return the environment of both: packages as if they were installed, and so many threads."""
    paths = os.pathsep.join([str(ROOT / "src"), str(Path(peers).resolve())])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": ""}


def spend(words: Sequence[str], peers: str, threads: int) -> Spent:
    """Run a command. Raises: SystemExit if it fails."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *words], env=environment(peers, threads), stdout=said, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            sys.exit(f"{' '.join(words)} ended with {status}:\n{said.read().decode(errors='replace')[-2000:]}")
    return Spent(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1e6)


def beside(song: Path, folder: Path, threads: int, options: argparse.Namespace) -> None:
    """Let both programs separate a song in turns, and print a line."""
    spent: dict[str, list[Spent]] = {"ours": [], "theirs": []}
    for number in range(options.rounds):
        turns = [("ours", ours), ("theirs", theirs)]
        for name, command in turns if number % 2 == 0 else turns[::-1]:  # whoever is second finds a warmer machine
            spent[name].append(spend(command(song, folder), options.peers, threads))
    seconds = soundfile.info(song).duration
    line = f"{seconds:7.0f} s, {threads} thr."
    for field, unit, width in (("cpu", seconds, 2), ("wall", seconds, 2), ("peak", 1.0, 2)):
        a, b = (statistics.median(getattr(one, field) for one in spent[name]) / unit for name in spent)
        line += f"{f'{a:.{width}f} to {b:.{width}f}':>{14 if field == 'peak' else 18}}{a / b:7.2f}"
    print(f"{line}{apart(song, folder):10.1e}", flush=True)
    for name in spent:
        shutil.rmtree(folder / name, ignore_errors=True)


def apart(song: Path, folder: Path) -> float:
    """Return how far the stems of both programs are apart, over the loudest sample of theirs."""
    most = loudest = 0.0
    for stem in STEMS:
        with soundfile.SoundFile(folder / "ours" / song.stem / f"{stem}.wav") as one:
            other = soundfile.SoundFile(folder / "theirs" / NAME / song.stem / f"{stem}.wav")
            if len(one) != len(other):
                sys.exit(f"{stem} has {len(one)} samples, and {len(other)} of demucs")
            with other:
                for a, b in zip(one.blocks(RATE), other.blocks(RATE), strict=True):
                    most, loudest = max(most, np.abs(a - b).max()), max(loudest, np.abs(b).max())
    return float(most / loudest)


def processor() -> str:
    """Return what this machine is called, and how busy it is."""
    from floor import processor as called

    return f"{called()}, load {os.getloadavg()[0]:.0f}"


if __name__ == "__main__":
    main()
