"""What the length of a chunk and its overlap are worth: SDR by stem, and what it costs, on songs with known stems.

    python benchmarks/chunk_choices.py --songs dev=DIR pairs=DIR [--demo 4] [--choices 3/0.5 6/0.5 4/0.25]
        [--model REF] [--seconds 40] [--limit 8] [--threads 1]

A choice is SECONDS/OVERLAP; the first one is what the others are compared with. A set is NAME=DIR, with folders as
`separation_quality.py` takes them; --demo adds that many songs of `stemsplit demo`. --seconds of every song are
separated, from its middle. Every song is separated by all choices, one after the other.

A cell is the mean SDR in dB over the songs in which the stem sounds; behind it, for all but the first choice, how much
that is above the first, and the standard error of that difference. "cost" is seconds given to the network per second of
song, counted; "CPU" is processor time per second of song, measured. Where a set's vocals are silent, "leak" is what is
put into them, in dB of the mixture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from separation_quality import RATE, STEMS, Song, as_known, read_song, song_folders

from stemsplit.demo.stems import synthesize_demo_song
from stemsplit.evaluation.scores import StemScore, score_stems
from stemsplit.machine.memory import keep_freed_memory
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.separation.chunks import Chunking, chunks
from stemsplit.separation.stream import chunking_for, separate_array
from stemsplit.weights.checkpoint import load_network

CHOICES = ("3/0.5", "3/0.25", "4/0.5", "4/0.25", "6/0.5", "6/0.25", "8/0.5")


@dataclass
class Row:
    """What a choice scored on a set's songs, and what that cost."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)  # column → song → dB
    cpu: float = 0.0  # seconds
    given: float = 0.0  # seconds of audio that the network was given
    audio: float = 0.0  # seconds of song

    def add(self, song: Song, scores: tuple[StemScore, ...]) -> None:
        """Keep a song's scores."""
        for score in scores:
            if score.sdr_db is not None:
                self.figures.setdefault(score.stem, {})[song.name] = score.sdr_db
            elif score.stem == "vocals" and score.leakage_db is not None:
                self.figures.setdefault("leak", {})[song.name] = score.leakage_db


def main() -> None:
    """Print a table for every set."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    network = load_network(options.model)
    choices = {text: chunking_of(network, text) for text in options.choices}
    print(f"{options.model}, {options.threads} threads; mean SDR in dB, {options.seconds:g} s of each song")
    for title, songs in sets_of(options).items():
        rows = {text: Row() for text in choices}
        for song in songs:
            for text, chunking in choices.items():
                measure(rows[text], network, chunking, song)
        print_set(title, rows)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", nargs="*", default=[], metavar="NAME=DIR", help="sets of songs with known stems")
    parser.add_argument("--demo", type=int, default=0, help="also so many songs of `stemsplit demo`")
    parser.add_argument("--choices", nargs="+", default=CHOICES, metavar="SECONDS/OVERLAP")
    parser.add_argument("--model", default="ts-bsmamba2-mini")
    parser.add_argument("--seconds", type=float, default=40.0, help="of every song, from its middle (40)")
    parser.add_argument("--limit", type=int, help="only the first N songs of each set")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def chunking_of(network: SeparatorNetwork, text: str) -> Chunking:
    seconds, overlap = text.split("/")
    return chunking_for(network.config, chunk_seconds=float(seconds), overlap=float(overlap))


def sets_of(options: argparse.Namespace) -> dict[str, Iterator[Song]]:
    """Return the songs of each set by its name; they are read or rendered when their turn comes."""
    sets = {}
    for text in options.songs:
        name, _, folder = text.partition("=")
        sets[name] = (excerpt(read_song(path), options.seconds) for path in song_folders(Path(folder))[: options.limit])
    if options.demo:
        sets["demo"] = (demo_song(seed, options.seconds) for seed in range(options.demo))
    return sets


def excerpt(song: Song, seconds: float) -> Song:
    """Return so many seconds of a song, from its middle."""
    whole, wanted = song.mixture.shape[1], round(seconds * RATE)
    first = max(0, whole - wanted) // 2
    part = slice(first, first + wanted)
    return Song(song.name, {name: stem[:, part] for name, stem in song.stems.items()}, song.mixture[:, part])


def demo_song(seed: int, seconds: float) -> Song:
    song = synthesize_demo_song(seconds, seed)
    return Song(f"demo {seed}", song.stems, song.mixture)


def measure(row: Row, network: SeparatorNetwork, chunking: Chunking, song: Song) -> None:
    """Separate a song, and add what came of it to a row."""
    began = time.process_time()
    stems = separate_array(network, song.mixture, chunking=chunking)
    row.cpu += time.process_time() - began
    row.given += sum(chunk.samples.shape[1] for chunk in chunks([song.mixture], chunking)) / RATE
    row.audio += song.mixture.shape[1] / RATE
    estimates = as_known(dict(zip(network.config.stems, stems, strict=True)), song)
    row.add(song, score_stems(song.stems, estimates, song.mixture))


def print_set(title: str, rows: dict[str, Row]) -> None:
    """Print a set's table: choices down, stems across."""
    first = next(iter(rows.values()))
    columns = [name for name in (*STEMS, "accompaniment", "leak") if name in first.figures]
    songs = max(len(of_song) for of_song in first.figures.values())
    print(f"\n{f'{title}, {songs} songs':20}{'cost':>6}{'CPU':>8}" + "".join(f"{name:>22}" for name in columns))
    for text, row in rows.items():
        cells = [cell(row.figures[name], None if row is first else first.figures[name]) for name in columns]
        print(f"{text:20}{row.given / row.audio:6.2f}{row.cpu / row.audio:8.4f}" + "".join(cells), flush=True)


def cell(values: dict[str, float], first: dict[str, float] | None) -> str:
    """Return the mean over songs, and how much it is above that of the first choice."""
    mean = f"{statistics.mean(values.values()):.2f}"
    if first is None:
        return f"{mean:>22}"
    above = [values[song] - first[song] for song in values]
    error = statistics.stdev(above) / len(above) ** 0.5 if len(above) > 1 else float("nan")
    return f"{f'{mean} ({statistics.mean(above):+.2f} ±{error:.2f})':>22}"


if __name__ == "__main__":
    main()
