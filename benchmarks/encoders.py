"""What each format costs to write, and what is left of the sound: processor seconds, size, signal-to-noise ratio.

    python benchmarks/encoders.py SONG [--rounds 3]

Every format is written and read back by stemsplit, in turns; MP3 also at each of LAME's levels that we weighed.
The ratio compares samples: it tells that levels of one encoder are alike, not which encoder sounds better.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np

from stemsplit.audio.encoding import ffmpeg
from stemsplit.audio.formats import FORMATS, choose_depth, output_rate
from stemsplit.audio.read import blocks, probe
from stemsplit.audio.write import StemWriter

LEVELS = (0, 3, 5, 7)


def encoded(samples: np.ndarray, rate: int, format: str, folder: Path) -> tuple[float, Path]:
    """Write samples (channels, n); return the processor seconds, and the file."""
    path = folder / f"stem.{FORMATS[format].suffix}"
    began = time.process_time()
    with StemWriter(path, rate, len(samples), format, choose_depth(format, "auto", "16")) as writer:
        writer.write(samples)
    return time.process_time() - began, path


def at_level(level: int) -> AbstractContextManager[object]:
    """Let LAME work at one of its levels."""
    return mock.patch.object(ffmpeg, "_lame", return_value={"compression_level": str(level)})


def read(path: Path) -> tuple[np.ndarray, int]:
    """Return samples (channels, n), and their rate."""
    info = probe(path)
    return np.concatenate(list(blocks(info)), axis=1), info.sample_rate


def decibels(samples: np.ndarray, path: Path) -> float:
    """Return the signal-to-noise ratio of a file in dB; infinite for the very samples."""
    heard, _ = read(path)
    error = np.square(heard[:, : samples.shape[1]] - samples).mean()
    return float("inf") if error == 0 else 10 * float(np.log10(np.square(samples).mean() / error))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("song", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    samples, rate = read(options.song)
    kinds: dict[str, tuple[str, int | None]] = {
        name: (name, None) for name in FORMATS if output_rate(name, rate) == rate
    }
    kinds |= {f"mp3, level {level}": ("mp3", level) for level in LEVELS}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    about: dict[str, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.rounds):
            for kind, (format, level) in kinds.items():
                with nullcontext() if level is None else at_level(level):
                    took, path = encoded(samples, rate, format, Path(name))
                seconds[kind].append(took)
                about[kind] = path.stat().st_size, decibels(samples, path)
    length = samples.shape[1] / rate
    print(f"{length:.0f} s, {rate} Hz, {len(samples)} channels; median of {options.rounds} rounds\n")
    print("| format | CPU s per minute | MB per minute | SNR dB |\n| --- | --- | --- | --- |")
    for kind, took in seconds.items():
        size, ratio = about[kind]
        print(
            f"| {kind} | {statistics.median(took) * 60 / length:.2f} | {size / 1e6 * 60 / length:.2f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
