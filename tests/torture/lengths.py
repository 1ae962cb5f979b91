"""Recordings of two hours, in little memory."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from torture.ended import command, environment
from torture.world import undisturbed

RATE = 8000
HOURS = 2
MOST_MB = 700
"""Resident memory of a run at its highest. PyTorch alone takes about 300."""
FORMATS = (("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III"))
SLOWEST_SECONDS = 1800.0


def long_recordings(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Separate recordings of two hours, in one format after the other; yield the faults of each."""
    undisturbed(world)
    for number in range(count):
        suffix, subtype = FORMATS[number % len(FORMATS)]
        samples = HOURS * 3600 * RATE + rng.randrange(RATE)
        song, output = world / f"long-{number}.{suffix}", world / f"out-{number}"
        _write(song, samples, subtype)
        yield _faults(world, song, output, samples)
        song.unlink()
        shutil.rmtree(output, ignore_errors=True)


def _write(path: Path, samples: int, subtype: str) -> None:
    """Write noise that comes and goes, a minute at a time."""
    minute = np.random.default_rng(0).normal(0, 0.1, 60 * RATE).astype(np.float32)
    minute *= np.linspace(0, 1, len(minute), dtype=np.float32)
    with soundfile.SoundFile(path, "w", RATE, 1, subtype) as file:
        for begin in range(0, samples, len(minute)):
            file.write(minute[: samples - begin])


def _faults(world: Path, song: Path, output: Path, samples: int) -> list[str]:
    arguments = ["separate", song.name, "-o", output.name, "-m", "model", "--device", "cpu", "-q", "--stems", "vocals"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ended = subprocess.run(
        command(arguments),
        cwd=world,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SLOWEST_SECONDS,
        check=False,
    )
    if ended.returncode:
        return [f"exit code {ended.returncode}: {ended.stderr[-500:]}"]
    found = []
    highest = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024
    if highest > MOST_MB:
        found.append(f"{song.name} took {highest} MB of memory")
    length = soundfile.info(output / song.stem / "vocals.wav").frames
    if length != soundfile.info(song).frames and length != samples:
        found.append(f"{song.name}: {length} samples of {samples}")
    return found
