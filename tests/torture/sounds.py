"""Audio files of every format that we read, damaged."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from tiny import write_song

from torture.damage import damaged
from torture.ended import UNEXPECTED, run
from torture.world import RATE, leftovers

SECONDS = 0.5
BY_SUFFIX = ("wav", "flac", "aiff", "mp3", "ogg", "au", "caf", "w64", "rf64")
BY_CODEC = {
    "m4a": "aac",
    "mka": "ac3",
    "webm": "libopus",
    "wma": "wmav2",
    "avi": "mp2",
    "ts": "aac",
    "opus": "libopus",
}
A_RUN = 60
"""So many files are separated by one command."""


def malformed_audio(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Separate `count` damaged files; yield the faults of each."""
    whole = {path.suffix: path.read_bytes() for path in whole_files(world / "whole")}
    numbers = list(range(count))
    while numbers:
        some, numbers = numbers[:A_RUN], numbers[A_RUN:]
        folder = world / f"damaged-{some[0]}"
        folder.mkdir()
        for number in some:
            suffix = sorted(whole)[number % len(whole)]
            (folder / f"{number}{suffix}").write_bytes(damaged(whole[suffix], rng))
        yield from _separated(world, folder)


def _separated(world: Path, folder: Path) -> Iterator[list[str]]:
    paths = sorted(path.name for path in folder.iterdir())
    output = f"{folder.name}-out"
    ended = run(["separate", folder.name, "-o", output, "-m", "model", "--device", "cpu", "-q", "--json"], world)
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    told = {Path(row["source"]).name: row for row in rows}
    general = [] if ended.code in (0, 1) else ended.faults((0, 1))
    general += leftovers(world / output) if (world / output).exists() else []
    for name in paths:
        row = told.get(name)
        if row is None:
            yield [f"{name}: no outcome was told", *general]
            continue
        error = str(row["error"] or "")
        yield [f"{name}: {error}"] if UNEXPECTED.search(error) or (row["status"] == "failed") != bool(error) else []
    if general:
        yield general


def whole_files(folder: Path) -> list[Path]:
    """Write a sound file of every format."""
    samples = np.random.default_rng(0).normal(0, 0.1, (2, int(SECONDS * RATE)))
    for suffix in BY_SUFFIX:
        write_song(folder / f"whole.{suffix}", samples, RATE)
    for suffix, codec in BY_CODEC.items():
        _encode(folder / f"whole.{suffix}", codec, samples.astype(np.float32))
    return sorted(folder.iterdir())


def _encode(path: Path, codec: str, samples: np.ndarray) -> None:
    rate = 48000 if codec == "libopus" else RATE
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.format, layout="stereo", rate=rate, frame_size=stream.frame_size or 1024
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
