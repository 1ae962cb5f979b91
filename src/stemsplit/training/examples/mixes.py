"""Random mixes for training, drawn from folders of songs with exact stems.

A song is a folder with one `{stem}.npy` per stem: int16 (samples, 2) at the network's rate. Of a real recording often
only two parts are known: its folder has an `accompaniment.npy`, and a `vocals.npy` where somebody sings. Nothing is
decoded and nothing is held in memory: a crop is a slice of a memory map.
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
    """How a training example is put together.

    Shares and probabilities are from 0 to 1, gains in dB, lengths in seconds.
    """

    crop_seconds: float = 3.0
    in_song: float = 0.5
    """Share of examples whose stems come from one moment of one song; the others are drawn independently."""
    other_voice: float = 0.0
    """Share of in-song examples that are sung over by another song's vocals."""
    backing: float = 0.0
    """Share of examples whose accompaniment is a recording, of which only the sum of its stems is known."""
    own_voice: float = 0.5
    """Share of recordings with known vocals that keep them; the others are sung over."""
    dropout: float = 0.1
    """Probability that a stem is silent."""
    gain_db: float = 10.0
    """Each stem's level is drawn from ± this, after its RMS has been made equal (independent stems only)."""
    swap: float = 0.5
    """Probability that left and right change places, per stem."""
    speed: float = 0.0
    """What comes from one song is played e to the ± this times as fast at most: other pitches, other voices."""
    stereo: float = 1.0
    """Share of batches that keep both channels; the others are folded down to one."""
    equalise_db: float = 0.0
    """Each stem goes through its own filter, whose gain at every octave is drawn from ± this."""


class Library(NamedTuple):
    """The folders that examples come from."""

    songs: Sequence[Path]
    """Songs with every stem."""
    backing: Sequence[Path] = ()
    """Recordings with an accompaniment, and some with vocals."""
    solo: Sequence[Path] = ()
    """Vocals alone."""

    @property
    def voices(self) -> list[Path]:
        """The folders that hold vocals."""
        return [*self.songs, *(folder for folder in self.backing if (folder / f"{VOCALS}.npy").is_file()), *self.solo]


class Batch(NamedTuple):
    """Training examples; a mixture is the sum of its stems."""

    stems: np.ndarray
    """(B, S, C, samples), float32."""
    merged: np.ndarray
    """(B,), bool: all that is not vocals is known as a sum only.

    The sum stands in the place of the first stem that is not vocals; the others of these are zero.
    """
    octaves: np.ndarray
    """(B, S, len(OCTAVES)), float32: the gain in dB that each stem is still to get at those frequencies."""


def find_songs(folder: Path, names: Sequence[str], *, made_by: str = "render_songs.py") -> list[Path]:
    """Return the folders in `folder` that hold a recording of every name, as in vocals.npy; sorted.

    Args:
        folder: the songs, each in a folder of its own.
        names: stems, or `ACCOMPANIMENT`.
        made_by: the script in recipes/ that makes such songs, for the message.

    Raises:
        UsageError: There is none.
    """
    songs = sorted(path.parent for path in folder.glob(f"*/{names[0]}.npy"))
    if not (songs := [song for song in songs if all((song / f"{name}.npy").is_file() for name in names)]):
        raise UsageError(f"no songs with {', '.join(names)} in {folder}: see recipes/{made_by} --help")
    return songs


def draw_batch(
    library: Library, stems: Sequence[str], size: int, mixing: Mixing, sample_rate: int, rng: np.random.Generator
) -> Batch:
    """Draw `size` examples. C is 2, or 1 in a mono batch; `sample_rate` is in Hz."""
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
        """Draw stems (S, 2, samples), and say whether only vocals and the sum of the rest are known."""
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
        """Draw all stems at one moment of a song; in some examples another song's vocals replace its own."""
        song, start, speed = self.pick(self.library.songs), self.rng.random(), self.speed()
        crops = np.stack([self.crop(song / f"{stem}.npy", start, speed) for stem in self.stems])
        if VOCALS in self.stems and self.rng.random() < self.mixing.other_voice:
            self.sing_over(crops, self.stems.index(VOCALS))
        return crops

    def over_backing(self) -> np.ndarray:
        """Draw a recording's accompaniment, with its own vocals or another song's."""
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
        """Replace the vocals of `crops` by another song's, about as loud as all the rest."""
        rest = crops.sum(0) - crops[voice]
        level = rms(rest)
        other = self.alone(VOCALS)
        crops[voice] = other * (level / LEVEL if level > QUIET else 1.0)

    def alone(self, stem: str) -> np.ndarray:
        """Draw a crop of `stem` from any song, at a random level around `LEVEL`.

        A crop in which the stem pauses is drawn again, up to three times.
        """
        folders = self.library.voices if stem == VOCALS else self.library.songs
        for _ in range(4):
            crop = self.crop(self.pick(folders) / f"{stem}.npy", self.rng.random(), self.speed())
            if (level := rms(crop)) > QUIET:
                levelled: np.ndarray = crop * (LEVEL / level * self.gain(self.mixing.gain_db))
                return levelled
        return crop

    def crop(self, path: Path, start: float, speed: float) -> np.ndarray:
        """Read float32 (2, samples) from `start` on, a fraction of the places that there are.

        Shorter songs are padded. `speed` is how many times as fast the crop is played.
        """
        song = np.load(path, mmap_mode="r")
        length = round(self.samples * speed)
        first = int(start * max(len(song) - length, 0))
        crop = np.zeros((2, length), dtype=np.float32)
        part = song[first : first + length]
        crop[:, : len(part)] = part.T
        scaled: np.ndarray = stretch(crop, self.samples) / np.float32(32768)
        return scaled

    def filters(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw gains in dB whose mean over a filter's octaves is zero, because levels are drawn elsewhere."""
        reach = self.mixing.equalise_db
        gains = self.rng.uniform(-reach, reach, shape) if reach else np.zeros(shape)
        centred: np.ndarray = (gains - gains.mean(-1, keepdims=True)).astype(np.float32)
        return centred

    def pick(self, folders: Sequence[Path]) -> Path:
        """Draw one of the folders."""
        return folders[int(self.rng.integers(len(folders)))]

    def speed(self) -> float:
        """Draw how many times as fast a crop is played."""
        reach = self.mixing.speed
        return float(np.exp(self.rng.uniform(-reach, reach))) if reach else 1.0

    def gain(self, reach_db: float) -> np.float32:
        """Draw a factor of up to ± `reach_db`."""
        gain: np.float32 = np.float32(10 ** (self.rng.uniform(-reach_db, reach_db) / 20))
        return gain


def rms(samples: np.ndarray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(samples**2)))


def stretch(crop: np.ndarray, samples: int) -> np.ndarray:
    """Play (2, n) slower or faster so that it has `samples`.

    Samples in between are interpolated linearly. That dulls the treble a little, which does no harm to an example.
    """
    if crop.shape[1] == samples:
        return crop
    rows = torch.from_numpy(crop).unsqueeze(0)
    return F.interpolate(rows, size=samples, mode="linear", align_corners=True).squeeze(0).numpy()
