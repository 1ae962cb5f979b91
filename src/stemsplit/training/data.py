"""Random mixes for training, drawn from folders of songs with exact stems.

A song is a folder `NNNN/` with one `{stem}.npy` each: int16 (samples, 2) at the network's rate. Nothing is decoded
and nothing is held in memory: a crop is a slice of a memory map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemsplit.errors import UsageError


@dataclass(frozen=True)
class Mixing:
    """How a training example is put together. Gains in dB, lengths in seconds."""

    crop_seconds: float = 3.0
    in_song: float = 0.5
    """Share of examples whose stems come from one moment of one song; the others are drawn independently."""
    dropout: float = 0.1
    """Probability that a stem is silent."""
    gain_db: float = 10.0
    """Each stem's level is drawn from ± this, after its RMS has been made equal (independent stems only)."""
    swap: float = 0.5
    """Probability that left and right change places, per stem."""
    speed: float = 0.0
    """Each example's stems are played slower or faster by up to e to the ± this: other pitches, other voices."""
    stereo: float = 1.0
    """Share of batches that keep both channels; the others are folded down to one, at half the cost."""


def find_songs(folder: Path, stems: Sequence[str]) -> list[Path]:
    """Return the song folders in `folder` that hold every stem, sorted by name."""
    songs = sorted(path.parent for path in folder.glob(f"*/{stems[0]}.npy"))
    songs = [song for song in songs if all((song / f"{stem}.npy").is_file() for stem in stems)]
    if not songs:
        raise UsageError(f"no songs with {', '.join(stems)} in {folder}; render some: recipes/render_songs.py --help")
    return songs


def draw_batch(
    songs: Sequence[Path],
    stems: Sequence[str],
    size: int,
    mixing: Mixing,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return stems (size, S, C, samples), float32; the mixture is their sum over S. C is 2, or 1 for a mono batch."""
    samples = round(mixing.crop_seconds * sample_rate)
    batch = np.stack([_draw_example(songs, stems, samples, mixing, rng) for _ in range(size)])
    if rng.random() >= mixing.stereo:
        batch = batch.mean(axis=2, keepdims=True)
    return batch.astype(np.float32)


def _draw_example(
    songs: Sequence[Path], stems: Sequence[str], samples: int, mixing: Mixing, rng: np.random.Generator
) -> np.ndarray:
    if rng.random() < mixing.in_song:
        song = songs[int(rng.integers(len(songs)))]
        start, speed = rng.random(), _draw_speed(mixing, rng)
        crops = np.stack([_crop(song / f"{stem}.npy", start, samples, speed) for stem in stems])
    else:
        crops = np.stack([_independent_crop(songs, stem, samples, mixing, rng) for stem in stems])
    for crop in crops:
        if rng.random() < mixing.swap:
            crop[:] = crop[::-1].copy()
        if rng.random() < mixing.dropout:
            crop[:] = 0
    return crops


def _independent_crop(
    songs: Sequence[Path], stem: str, samples: int, mixing: Mixing, rng: np.random.Generator
) -> np.ndarray:
    """A crop of `stem` from anywhere, preferably a sounding one, at a random level."""
    for _ in range(4):
        song = songs[int(rng.integers(len(songs)))]
        crop = _crop(song / f"{stem}.npy", rng.random(), samples, _draw_speed(mixing, rng))
        rms = float(np.sqrt(np.mean(crop**2)))
        if rms > 1e-3:
            return crop * (0.05 / rms * 10 ** (rng.uniform(-mixing.gain_db, mixing.gain_db) / 20))
    return crop


def _draw_speed(mixing: Mixing, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(-mixing.speed, mixing.speed))) if mixing.speed else 1.0


def _crop(path: Path, start: float, samples: int, speed: float = 1.0) -> np.ndarray:
    """Return float32 (2, samples) from `start`, a fraction of what can be chosen; shorter songs are padded.

    At another `speed`, samples in between are interpolated linearly: what that costs at the top of the spectrum is one
    more difference between examples.
    """
    song = np.load(path, mmap_mode="r")
    length = round(samples * speed)
    first = int(start * max(len(song) - length, 0))
    crop = np.zeros((2, length), dtype=np.float32)
    part = song[first : first + length]
    crop[:, : len(part)] = part.T
    if length != samples:
        places = np.linspace(0, length - 1, samples)
        crop = np.stack([np.interp(places, np.arange(length), channel) for channel in crop]).astype(np.float32)
    return crop / 32768.0
