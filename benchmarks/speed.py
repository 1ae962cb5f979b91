"""Speed and memory: what the products alone would take, what is measured, and the peers, in one run and in turns.

    python benchmarks/speed.py                                the shipped model: the network, and half a minute of song
    python benchmarks/speed.py --networks mini L full --peers FOLDER     beside HTDemucs and Open-Unmix, see backends.py
    python benchmarks/speed.py --networks --minutes 3 30      does memory grow with the length of the song?
    python benchmarks/speed.py --networks --minutes 1 --formats wav flac mp3 --beside OTHER/src    another version
    python benchmarks/speed.py --peer-command "python -m demucs -o {out} {song}"     any other program, file to files

A line is a median of --repeats processes, which take turns with those of the other lines. "network" is one chunk
without overlap, warm; "files" is the command from file to files, with start-up and the model's own overlap.

s/s       wall seconds per second of stereo audio
CPU s/s   the same in seconds of processor time, which other programs disturb less
floor     CPU s/s of the products alone in fp32 (`floor.py`): of a chunk, or of the overlapping chunks of a song
/ floor   CPU s/s over it; below 1 is possible in bf16
/ peer    CPU s/s over those of the first peer of the same table
peak      of the process's memory, in GB, the most of all repeats
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))


class Run(NamedTuple):
    """Seconds of the clock and of the processor, and the most memory in GB."""

    wall: float
    cpu: float
    peak_gb: float


class Line(NamedTuple):
    """A line of the table: how it is measured, per second of how much audio, and what its products would take."""

    measure: Callable[[], Run]
    seconds: float = 1.0
    floor: float | None = None  # seconds per second of audio
    peer: bool = False


def main() -> None:
    """Measure both tables in turns, and print them."""
    from floor import peaks, processor, told

    options = parse_options()
    best = peaks()
    print(f"{processor()}; one thread at best: {told(best) or 'unknown without a C compiler'}")
    print(f"{options.threads} threads, medians of {options.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        tables = {"network": network_lines(options, best), "files": file_lines(options, best, Path(folder))}
        runs = in_turns({(table, name): line for table in tables for name, line in tables[table].items()}, options)
    for table, lines in tables.items():
        if lines := {name: line for name, line in lines.items() if (table, name) in runs}:
            print_table(table, lines, {name: runs[table, name] for name in lines})


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["mini"], choices=["mini", "L", "full"], help="(mini)")
    parser.add_argument("--peers", help="folder with the peers' packages")
    parser.add_argument("--models", nargs="*", default=["ts-bsmamba2-mini"], help="for the command")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", nargs="+", type=float, default=[0.5], help="lengths of the songs for the command")
    parser.add_argument("--formats", nargs="+", default=["wav"], help="what stems are written as (wav)")
    parser.add_argument("--beside", type=Path, help="the src folder of another version of the package")
    parser.add_argument("--precision", default="auto", help="of the networks and the command")
    parser.add_argument("--chunk-seconds", help="for the command, instead of the model's own")
    parser.add_argument("--overlap", help="for the command, instead of the model's own")
    parser.add_argument("--peer-command", help="another program, from {song} to files in {out}")
    return parser.parse_args()


def in_turns(lines: dict[tuple[str, str], Line], options: argparse.Namespace) -> dict[tuple[str, str], list[Run]]:
    """Measure every line once a round; what cannot run says why and is left out."""
    runs: dict[tuple[str, str], list[Run]] = {key: [] for key in lines}
    for _ in range(options.repeats):
        for key in list(runs):
            try:
                runs[key].append(lines[key].measure())
            except (OSError, RuntimeError) as error:
                print(f"skipped {key[1]}: {error}", flush=True)
                del runs[key]
    return runs


def print_table(title: str, lines: dict[str, Line], runs: dict[str, list[Run]]) -> None:
    """Print medians, and the most memory."""
    cpu = {name: statistics.median(run.cpu for run in runs[name]) / lines[name].seconds for name in lines}
    peer = next((cpu[name] for name, line in lines.items() if line.peer), None)
    print(f"\n{title:36}{'s/s':>9}{'CPU s/s':>9}{'floor':>9}{'/ floor':>9}{'/ peer':>9}{'peak GB':>9}")
    for name, line in lines.items():
        wall = statistics.median(run.wall for run in runs[name]) / line.seconds
        floor = "" if line.floor is None else f"{line.floor:.4f}"
        over = "" if line.floor is None else f"{cpu[name] / line.floor:.1f}"
        beside = "" if peer is None else f"{cpu[name] / peer:.3f}"
        peak = max(run.peak_gb for run in runs[name])
        print(f"{name:36}{wall:9.4f}{cpu[name]:9.4f}{floor:>9}{over:>9}{beside:>9}{peak:9.3f}", flush=True)


# --- the network alone


def network_lines(options: argparse.Namespace, best: dict[str, float]) -> dict[str, Line]:
    """Return the networks, and the peers that backends.py knows."""
    from backends import PEERS
    from floor import gmacs

    lines = {}
    for model in options.networks:
        floor = 2 * gmacs(model) / best["fp32"] if best else None
        lines[model] = Line(partial(network_run, model, "native", options), floor=floor)
    for name in PEERS if options.peers else ():
        lines[name] = Line(partial(network_run, "peer", name, options), peer=True)
    return lines


def network_run(model: str, backend: str, options: argparse.Namespace) -> Run:
    """One process of backends.py. Raises: RuntimeError if that cannot run."""
    import backends

    how = argparse.Namespace(**vars(options) | {"repeats": 1, "device": "cpu", "seconds": None})
    (row,) = backends.run_in_turns([(model, backend)], how)[model, backend]
    return Run(row["wall"], row["cpu"], row["peak"])


# --- from file to files


def file_lines(options: argparse.Namespace, best: dict[str, float], folder: Path) -> dict[str, Line]:
    """Return the command for all models, lengths, formats and versions, and the other program."""
    sources = {"": ROOT / "src"} | ({" (the other)": options.beside.resolve()} if options.beside else {})
    how = {"chunk-seconds": options.chunk_seconds, "overlap": options.overlap, "precision": options.precision}
    lines = {}
    for minutes in options.minutes:
        song, seconds = write_song(folder / f"{minutes:g}.wav", minutes), 60 * minutes
        for model in options.models:
            floor = file_floor(model, options, best)
            for form in options.formats:
                for title, source in sources.items():
                    run = partial(run_command, song, model, folder, threads=options.threads, form=form, source=source)
                    name = f"{model}, {minutes:g} min to {form}{title}"
                    lines[name] = Line(partial(run, how=how), seconds, floor)
        if options.peer_command:
            words = [word.format(song=song, out=folder / "peer") for word in shlex.split(options.peer_command)]
            lines[f"peer, {minutes:g} min"] = Line(partial(run_words, words, options.threads), seconds, None, peer=True)
    return lines


def file_floor(model: str, options: argparse.Namespace, best: dict[str, float]) -> float | None:
    """Return what the products of a long song would take: those of a chunk for every step."""
    from floor import MODELS, config_of, gmacs

    known = {reference: name for name, reference in MODELS.items()}
    if model not in known or not best:
        return None
    overlap = config_of(known[model]).overlap if options.overlap is None else float(options.overlap)
    return 2 * gmacs(known[model]) / best["fp32"] / (1 - overlap)


def write_song(path: Path, minutes: float) -> Path:
    """Noise bursts, stereo, 16 bit, block by block."""
    rng, rate = np.random.default_rng(0), 44100
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        for second in range(round(60 * minutes)):
            level = 0.05 + 0.1 * (second % 4)
            file.write((level * rng.standard_normal((rate, 2))).clip(-1, 1).astype(np.float32))
    return path


def run_command(
    song: Path,
    model: str,
    folder: Path,
    *,
    threads: int,
    form: str = "wav",
    source: Path = ROOT / "src",
    how: dict[str, str | None] | None = None,
) -> Run:
    """One call of the command, start-up included. Raises: RuntimeError if it fails."""
    words = [sys.executable, "-m", "stemsplit", "separate", str(song), "-m", model, "--force", "-q"]
    words += ["-o", str(folder / "out"), "--format", form]
    words += [word for name, value in (how or {}).items() if value is not None for word in (f"--{name}", value)]
    return run_words(words, threads, source)


def run_words(words: list[str], threads: int, source: Path = ROOT / "src") -> Run:
    """One process. Raises: RuntimeError if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(source)}
    environment["PYTHONDONTWRITEBYTECODE"] = ""  # as if installed
    start = time.perf_counter()
    process = subprocess.Popen(words, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{shlex.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


if __name__ == "__main__":
    main()
