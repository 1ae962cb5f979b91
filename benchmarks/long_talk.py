"""Do two speakers keep their places over a long recording, and does its length cost memory?

    python benchmarks/long_talk.py --speech DIR --heldout FILE [--model REF] [--minutes 3 20] [--threads N]

DIR and FILE as for `speakers_quality.py`. A talk is made of the recordings of two people who are held out: each says
something, one alone, both at once, or nobody for up to ten seconds. `stemsplit separate` takes it from file to files.

swapped    share of the stretches in which both talk, and which the other order of the speakers would fit better by more
           than a decibel than the order that fits the whole talk
SI-SDRi    of the whole talk, in dB, the mean of both speakers
peak       memory of the process, in GB
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from speakers_quality import RECORDED_RATE
from speed import Run, run_command

from stemsplit.evaluation.sdr import measure as energies
from stemsplit.training.examples.speakers import Speaker, find_speakers, levelled, load_voices, read_names

RATE = 8000
LONGEST_PAUSE = 10.0
CLEARLY_DB = 1.0


class Talk(NamedTuple):
    """Two speakers (2, n), and where both talk, as pairs of samples."""

    speakers: np.ndarray
    together: list[tuple[int, int]]


def main() -> None:
    options = parse_options()
    everyone = find_speakers([options.speech])
    names = [name for name in read_names(options.heldout) if name in everyone]
    people = load_voices({name: everyone[name] for name in names}, RECORDED_RATE).speakers
    print(f"{'minutes':>7} {'speakers':>12} {'stretches':>9} {'swapped':>8} {'SI-SDRi':>8} {'s/s':>6} {'peak':>6}")
    for minutes in options.minutes:
        for pair in range(options.pairs):
            two = (people[pair], people[-1 - pair])
            with tempfile.TemporaryDirectory() as folder:
                measure(two, minutes, options, Path(folder))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder with a folder of recordings per speaker")
    parser.add_argument("--heldout", type=Path, required=True, help="list of the speakers to mix")
    parser.add_argument("--model", default="s4m-tiny-8k", help="a model of two speakers (s4m-tiny-8k)")
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 20], help="lengths of the talks (3 20)")
    parser.add_argument("--pairs", type=int, default=1, help="pairs of people, a talk of each length for each (1)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    return parser.parse_args()


def measure(two: tuple[Speaker, Speaker], minutes: float, options: argparse.Namespace, folder: Path) -> None:
    """Print the line of one talk."""
    talk = conversation(two, round(60 * minutes * RATE))
    mixture = talk.speakers.sum(0)
    soundfile.write(folder / "talk.wav", mixture, RATE, "FLOAT")
    # From a small process: what the system calls a command's peak is no less than that of what started it.
    with ProcessPoolExecutor(1, get_context("spawn")) as starter:
        spent = starter.submit(
            run_command, folder / "talk.wav", options.model, folder, threads=options.threads
        ).result()
    found = np.stack([soundfile.read(path, dtype="float32")[0] for path in sorted((folder / "out").rglob("*.wav"))])
    print(line(talk, mixture, found, minutes, " + ".join(one.name for one in two), spent), flush=True)


def line(talk: Talk, mixture: np.ndarray, found: np.ndarray, minutes: float, who: str, spent: Run) -> str:
    """The figures of a talk whose speakers were found as (2, n)."""
    if similarity(talk.speakers, found) < similarity(talk.speakers, found[::-1]):
        found = found[::-1]
    wrong = sum(is_swapped(talk.speakers[:, a:b], found[:, a:b]) for a, b in talk.together)
    gain = similarity(talk.speakers, found) - similarity(talk.speakers, np.stack([mixture, mixture]))
    share, pace = wrong / len(talk.together), spent.wall / (60 * minutes)
    counts = f"{minutes:7g} {who:>12} {len(talk.together):9d} {share:8.1%}"
    return f"{counts} {gain:8.2f} {pace:6.3f} {spent.peak_gb:6.3f}"


def conversation(two: tuple[Speaker, Speaker], samples: int) -> Talk:
    """A talk of two people, always the same for the same two and the same length."""
    rng = np.random.default_rng(0)
    voices = [levelled(soxr.resample(np.concatenate(one.recordings) / 32768, RECORDED_RATE, RATE), RATE) for one in two]
    talk, together, at = np.zeros((2, samples), np.float32), [], 0
    while at < samples:
        length = min(samples - at, round(rng.uniform(3, 8) * RATE))
        what = rng.integers(4)  # 0 and 1: one of them alone; 2 and 3: both, and after 3 a pause
        for number, voice in enumerate(voices):
            if what in (number, 2, 3):
                begin = rng.integers(max(1, len(voice) - length))
                said = voice[begin : begin + length]
                talk[number, at : at + len(said)] = said
        if what > 1:
            together.append((at, at + length))
        at += length + (round(rng.uniform(0, LONGEST_PAUSE) * RATE) if what == 3 else 0)
    return Talk(talk, together)


def similarity(speakers: np.ndarray, found: np.ndarray) -> float:
    """The mean SI-SDR in dB of estimates (2, n) in their order."""
    return mean(energies(true[None], one[None]).si_sdr_db for true, one in zip(speakers, found, strict=True))


def is_swapped(speakers: np.ndarray, found: np.ndarray) -> bool:
    """Whether two estimates (2, n) fit clearly better the other way round."""
    return similarity(speakers, found[::-1]) > similarity(speakers, found) + CLEARLY_DB


if __name__ == "__main__":
    main()
