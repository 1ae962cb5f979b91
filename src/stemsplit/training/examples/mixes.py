"""Random mixes for training, drawn from folders of songs with exact stems.

A song is a folder with one `{stem}.npy` each: int16 (samples, 2) at the network's rate. Of a real recording often only
two parts are known: its folder has an `accompaniment.npy`, and a `vocals.npy` where somebody sings. Nothing is decoded
and nothing is held in memory: a crop is a slice of a memory map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from stemsplit.errors import UsageError

VOCALS = "vocals"
ACCOMPANIMENT = "accompaniment"
QUIET = 1e-3
"""RMS of a crop in which a stem is taken to pause."""
OCTAVES = tuple(31.25 * 2.0**octave for octave in range(10))
"""Frequencies in Hz at which the filters of examples are drawn."""
LEVEL = 0.05
"""RMS that parts of different songs are brought to before their levels are drawn."""


@dataclass(frozen=True)
class Mixing:
    """How a training example is put together. Gains in dB, lengths in seconds."""

    crop_seconds: float = 3.0
    in_song: float = 0.5
    """Share of examples whose stems come from one moment of one song; the others are drawn independently."""
    other_voice: float = 0.0
    """Share of in-song examples that are sung over by another song's vocals."""
    backing: float = 0.0
    """Share of examples whose accompaniment is a recording of which only the sum of its stems is known."""
    own_voice: float = 0.5
    """Share of recordings with known vocals that keep them; the others are sung over."""
    dropout: float = 0.1
    """Probability that a stem is silent."""
    gain_db: float = 10.0
    """Each stem's level is drawn from ± this, after its RMS has been made equal (independent stems only)."""
    swap: float = 0.5
    """Probability that left and right change places, per stem."""
    speed: float = 0.0
    """Each example's stems are played slower or faster by up to e to the ± this: other pitches, other voices."""
    stereo: float = 1.0
    """Share of batches that keep both channels; the others are folded down to one."""
    equalise_db: float = 0.0
    """Each stem goes through a filter of its own, whose gain is drawn from ± this at every octave."""


class Library(NamedTuple):
    """Where examples come from: songs with every stem, recordings with an accompaniment, and vocals alone."""

    songs: Sequence[Path]
    backing: Sequence[Path] = ()
    solo: Sequence[Path] = ()

    @property
    def voices(self) -> list[Path]:
        """Folders with vocals."""
        return [*self.songs, *(folder for folder in self.backing if (folder / f"{VOCALS}.npy").is_file()), *self.solo]


class Batch(NamedTuple):
    """Training examples; the mixture is the sum over S.

    stems (B, S, C, samples), float32. merged (B,): all that is not vocals is known as a sum only, which stands in the
    place of the first such stem; the others' places are zero. octaves (B, S, len(OCTAVES)): the gain in dB that each
    stem is still to get at those frequencies, float32.
    """

    stems: np.ndarray
    merged: np.ndarray
    octaves: np.ndarray


def find_songs(folder: Path, stems: Sequence[str]) -> list[Path]:
    """Return the song folders in `folder` that hold every stem, sorted by name."""
    songs = _folders_with(folder, stems)
    if not songs:
        raise UsageError(f"no songs with {', '.join(stems)} in {folder}; render some: recipes/render_songs.py --help")
    return songs


def find_backing(folder: Path) -> list[Path]:
    """Return the folders in `folder` that hold an accompaniment, sorted by name."""
    found = _folders_with(folder, (ACCOMPANIMENT,))
    if not found:
        raise UsageError(f"no {ACCOMPANIMENT}.npy in the folders of {folder}: see recipes/real_songs.py --help")
    return found


def find_solo(folder: Path) -> list[Path]:
    """Return the folders in `folder` that hold vocals, sorted by name."""
    found = _folders_with(folder, (VOCALS,))
    if not found:
        raise UsageError(f"no {VOCALS}.npy in the folders of {folder}: see recipes/render_songs.py --help")
    return found


def _folders_with(folder: Path, names: Sequence[str]) -> list[Path]:
    found = sorted(path.parent for path in folder.glob(f"*/{names[0]}.npy"))
    return [song for song in found if all((song / f"{name}.npy").is_file() for name in names)]


def draw_batch(
    library: Library, stems: Sequence[str], size: int, mixing: Mixing, sample_rate: int, rng: np.random.Generator
) -> Batch:
    """Return `size` examples; C is 2, or 1 for a mono batch."""
    draw = _Draw(library, tuple(stems), round(mixing.crop_seconds * sample_rate), mixing, rng)
    examples = [draw.example() for _ in range(size)]
    batch = np.stack([example for example, _ in examples])
    if rng.random() >= mixing.stereo:
        batch = batch.mean(axis=2, keepdims=True)
    octaves = draw.filters((size, len(draw.stems), len(OCTAVES)))
    return Batch(batch.astype(np.float32), np.array([merged for _, merged in examples]), octaves)


@dataclass(frozen=True)
class _Draw:
    """What the examples of a batch have in common."""

    library: Library
    stems: tuple[str, ...]
    samples: int
    mixing: Mixing
    rng: np.random.Generator

    def example(self) -> tuple[np.ndarray, bool]:
        """Stems (S, C, samples), and whether only vocals and the sum of the rest are known."""
        merged = bool(self.library.backing) and self.rng.random() < self.mixing.backing
        if merged:
            crops = self.over_backing()
        elif self.rng.random() < self.mixing.in_song:
            crops = self.from_one_song()
        else:
            crops = np.stack([self.alone(stem) for stem in self.stems])
        for crop in crops:
            if self.rng.random() < self.mixing.swap:
                crop[:] = crop[::-1].copy()
            if self.rng.random() < self.mixing.dropout:
                crop[:] = 0
        return crops, merged

    def from_one_song(self) -> np.ndarray:
        """All stems at one moment; the vocals perhaps another song's, about as loud as its own."""
        song, start, speed = self.pick(self.library.songs), self.rng.random(), self.speed()
        crops = np.stack([self.crop(song / f"{stem}.npy", start, speed) for stem in self.stems])
        if VOCALS in self.stems and self.rng.random() < self.mixing.other_voice:
            self.sing_over(crops, self.stems.index(VOCALS))
        return crops

    def over_backing(self) -> np.ndarray:
        """A recording's accompaniment, with its own vocals or another song's."""
        folder, start, speed = self.pick(self.library.backing), self.rng.random(), self.speed()
        crops = np.zeros((len(self.stems), 2, self.samples), np.float32)
        voice = self.stems.index(VOCALS)
        rest = 0 if voice else 1
        own = folder / f"{VOCALS}.npy"
        crops[rest] = self.crop(folder / f"{ACCOMPANIMENT}.npy", start, speed)
        if own.is_file() and self.rng.random() < self.mixing.own_voice:
            crops[voice] = self.crop(own, start, speed) * self.gain(self.mixing.gain_db)
        else:
            self.sing_over(crops, voice)
        return crops

    def sing_over(self, crops: np.ndarray, voice: int) -> None:
        """Replace the vocals of `crops`, about as loud as all the rest."""
        rest = crops.sum(0) - crops[voice]
        level = rms(rest)
        other = self.alone(VOCALS)
        crops[voice] = other * (level / LEVEL if level > QUIET else 1.0)

    def alone(self, stem: str) -> np.ndarray:
        """A crop of `stem` from anywhere, preferably a sounding one, at a random level around `LEVEL`."""
        folders = self.library.voices if stem == VOCALS else self.library.songs
        for _ in range(4):
            crop = self.crop(self.pick(folders) / f"{stem}.npy", self.rng.random(), self.speed())
            if (level := rms(crop)) > QUIET:
                return crop * (LEVEL / level * self.gain(self.mixing.gain_db))
        return crop

    def crop(self, path: Path, start: float, speed: float) -> np.ndarray:
        """Float32 (2, samples) from `start`, a fraction of what can be chosen; shorter songs are padded."""
        song = np.load(path, mmap_mode="r")
        length = round(self.samples * speed)
        first = int(start * max(len(song) - length, 0))
        crop = np.zeros((2, length), dtype=np.float32)
        part = song[first : first + length]
        crop[:, : len(part)] = part.T
        return stretch(crop, self.samples) / np.float32(32768)

    def filters(self, shape: tuple[int, ...]) -> np.ndarray:
        """Gains in dB, zero in the mean over a filter's octaves: levels are drawn elsewhere."""
        reach = self.mixing.equalise_db
        gains = self.rng.uniform(-reach, reach, shape) if reach else np.zeros(shape)
        return (gains - gains.mean(-1, keepdims=True)).astype(np.float32)

    def pick(self, folders: Sequence[Path]) -> Path:
        return folders[int(self.rng.integers(len(folders)))]

    def speed(self) -> float:
        reach = self.mixing.speed
        return float(np.exp(self.rng.uniform(-reach, reach))) if reach else 1.0

    def gain(self, reach_db: float) -> np.float32:
        return np.float32(10 ** (self.rng.uniform(-reach_db, reach_db) / 20))


def rms(samples: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(samples**2)))


def stretch(crop: np.ndarray, samples: int) -> np.ndarray:
    """Play (2, n) slower or faster so that it has `samples`; samples in between are interpolated linearly.

    What that costs at the top of the spectrum is one more difference between examples.
    """
    if crop.shape[1] == samples:
        return crop
    rows = torch.from_numpy(crop).unsqueeze(0)
    return F.interpolate(rows, size=samples, mode="linear", align_corners=True).squeeze(0).numpy()
