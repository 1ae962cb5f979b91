"""Which clips of test singers have an accompaniment that train singers sang to as well?

    python benchmarks/shared_accompaniments.py --mir1k DIR

Correlates the log spectra (bands of a tenth of an octave, every 50 ms) of all accompaniments at every shift, and prints
for each song of a test singer the largest correlation with a clip of another singer: near 1 for one backing track that
two singers used, up to about 0.6 for different ones.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

TEST_SINGERS = ("abjones", "davidson", "ariel", "amy")
RATE, WINDOW, HOP = 16000, 2048, 800
EDGES_HZ = 60 * 100 ** np.linspace(0, 1, 61)
SHIFTS = 512  # more frames than two clips have together


def main(arguments: list[str] | None = None) -> int:
    """Print a line per song, the most alike first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mir1k", type=Path, required=True)
    parser.add_argument("--singers", nargs="+", default=list(TEST_SINGERS))
    options = parser.parse_args(arguments)
    clips = {path.name.split(".")[0]: fingerprint(path) for path in sorted(options.mir1k.glob("*.accomp.opus"))}
    test = {name: clip for name, clip in clips.items() if name.split("_")[0] in options.singers}
    train = {name: clip for name, clip in clips.items() if name not in test}
    best: dict[str, tuple[float, str, str]] = {}
    for name, clip in test.items():
        alike = max((correlation(clip, other), name, other_name) for other_name, other in train.items())
        song = "_".join(name.split("_")[:2])
        best[song] = max(best.get(song, alike), alike)
    for song, (value, name, other_name) in sorted(best.items(), key=lambda item: -item[1][0]):
        print(f"{song:16}{value:6.2f}  {name} and {other_name}")
    return 0


def fingerprint(path: Path) -> np.ndarray:
    """The log spectrum of a clip, without the mean of each band, normalised, as its transform over time."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE:
        raise SystemExit(f"{path}: {rate} Hz; this takes {RATE} Hz")
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, WINDOW)), WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    bands = [(hertz >= low) & (hertz < high) for low, high in pairwise(EDGES_HZ)]
    levels = np.log(np.stack([power[:, band].sum(1) for band in bands if band.any()]) + 1e-7)
    levels -= levels.mean(1, keepdims=True)
    return np.fft.rfft(levels / (np.linalg.norm(levels) + 1e-9), SHIFTS)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The largest correlation of two fingerprints over all shifts."""
    return float(np.fft.irfft((first * second.conj()).sum(0), SHIFTS).max())


if __name__ == "__main__":
    raise SystemExit(main())
