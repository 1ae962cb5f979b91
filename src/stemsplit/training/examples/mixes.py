"""Random mixes for training, drawn from folders of songs with exact stems; see `songs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from stemsplit.training.examples import mastering
from stemsplit.training.examples.placement import place
from stemsplit.training.examples.songs import ACCOMPANIMENT, VOCALS, read_part, recording

QUIET = 1e-3
"""RMS of a crop in which a stem is taken to pause."""
OCTAVES = tuple(31.25 * 2.0**octave for octave in range(10))
"""Frequencies in Hz at which the filters of examples are drawn."""
LEVEL = 0.05
"""RMS that parts of different songs are brought to before their levels are drawn."""
RELEASE_MS = (20.0, 300.0)
"""A limiter's release is drawn between these."""
DULL_HZ = 8000.0
"""Where a dull mixture ends: as some recorded voices do, so that a missing treble must not tell a voice."""


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
    doubled: float = 0.0
    """Probability that another song's stem of that name is added to a stem (CatNet, arXiv 2102.09966), as loud."""
    placed: float = 0.0
    """Share of stereo examples whose stems, or which as a whole, are placed elsewhere; see `placement`."""
    limited: float = 0.0
    """Share of examples that go through a limiter, whose gain goes to the stems too; see `mastering`."""
    limit_db: float = 12.0
    """So far at most are peaks turned down by it."""
    dull: float = 0.0
    """Share of examples of which nothing is left above `DULL_HZ`."""


@dataclass(frozen=True)
class Library:
    """The folders that examples come from."""

    songs: Sequence[Path]
    """Songs with every stem."""
    backing: Sequence[Path] = ()
    """Recordings with an accompaniment, and some with vocals."""
    solo: Sequence[Path] = ()
    """Vocals alone."""
    loose: Sequence[Path] = ()
    """Single stems of any name, as loops and phrases; they only go where stems are drawn one by one."""

    @cached_property
    def voices(self) -> list[Path]:
        """The folders that hold vocals."""
        folders = (*self.songs, *self.backing, *self.solo, *self.loose)
        return [folder for folder in folders if recording(folder, VOCALS)]

    def having(self, stem: str) -> Sequence[Path]:
        """Return the folders that hold a stem."""
        if stem == VOCALS:
            return self.voices
        if stem not in self._having:
            self._having[stem] = [*self.songs, *(folder for folder in self.loose if recording(folder, stem))]
        return self._having[stem]

    @cached_property
    def _having(self) -> dict[str, list[Path]]:
        return {}


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


def draw_batch(
    library: Library, stems: Sequence[str], size: int, mixing: Mixing, sample_rate: int, rng: np.random.Generator
) -> Batch:
    """Draw `size` examples. C is 2, or 1 in a mono batch; `sample_rate` is in Hz."""
    draw = _Draw(library, tuple(stems), round(mixing.crop_seconds * sample_rate), mixing, rng)
    examples = [draw.example() for _ in range(size)]
    batch = np.stack([example for example, _ in examples])
    if rng.random() >= mixing.stereo:
        batch = batch.mean(axis=2, keepdims=True)
    for example in batch:
        draw.finish(example, sample_rate)
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
        if self.mixing.doubled:
            self.double(crops, (VOCALS,) if merged else self.stems)
        for crop in crops:
            if self.rng.random() < self.mixing.swap:
                crop[:] = crop[::-1].copy()
            if self.rng.random() < self.mixing.dropout:
                crop[:] = 0
        return crops, merged

    def from_one_song(self) -> np.ndarray:
        """Draw all stems at one moment of a song; in some examples another song's vocals replace its own."""
        song, start, speed = self.pick(self.library.songs), self.rng.random(), self.speed()
        crops = np.stack([self.crop(song, stem, start, speed) for stem in self.stems])
        if VOCALS in self.stems and self.rng.random() < self.mixing.other_voice:
            self.sing_over(crops, self.stems.index(VOCALS))
        return crops

    def over_backing(self) -> np.ndarray:
        """Draw a recording's accompaniment, with its own vocals or another song's."""
        folder, start, speed = self.pick(self.library.backing), self.rng.random(), self.speed()
        crops = np.zeros((len(self.stems), 2, self.samples), np.float32)
        voice = self.stems.index(VOCALS)
        rest = 0 if voice else 1
        crops[rest] = self.crop(folder, ACCOMPANIMENT, start, speed)
        if recording(folder, VOCALS) and self.rng.random() < self.mixing.own_voice:
            crops[voice] = self.crop(folder, VOCALS, start, speed) * self.gain(self.mixing.gain_db)
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
        folders = self.library.having(stem)
        for _ in range(4):
            crop = self.crop(self.pick(folders), stem, self.rng.random(), self.speed())
            if (level := rms(crop)) > QUIET:
                levelled: np.ndarray = crop * (LEVEL / level * self.gain(self.mixing.gain_db))
                return levelled
        return crop

    def crop(self, song: Path, name: str, start: float, speed: float) -> np.ndarray:
        """Read float32 (2, samples) of a stem; silence where the song has none.

        `start` is a fraction of the places that there are, and `speed` is how many times as fast the crop is played.
        """
        if not (path := recording(song, name)):
            return np.zeros((2, self.samples), np.float32)
        return stretch(read_part(path, start, round(self.samples * speed)), self.samples)

    def double(self, crops: np.ndarray, names: Sequence[str]) -> None:
        """Add other songs' stems to some of those stems that sound."""
        for name in names:
            crop = crops[self.stems.index(name)]
            if self.chance(self.mixing.doubled) and (level := rms(crop)) > QUIET:
                crop += self.alone(name) * (level / LEVEL)

    def finish(self, example: np.ndarray, sample_rate: int) -> None:
        """Place, limit and dull stems (S, C, samples), in place, as the shares say."""
        if example.shape[1] == 2 and self.chance(self.mixing.placed):
            place(example, sample_rate, self.rng)
        if self.chance(self.mixing.limited):
            mixture = example.sum(0)
            turned_down = self.rng.uniform(0, self.mixing.limit_db)
            ceiling = float(np.abs(mixture).max()) * 10 ** (-turned_down / 20)
            example *= mastering.limiter_gain(mixture, ceiling, self.rng.uniform(*RELEASE_MS), sample_rate)
        if self.chance(self.mixing.dull):
            example[:] = mastering.low_pass(example, DULL_HZ, sample_rate)

    def chance(self, probability: float) -> bool:
        """Draw whether something happens. What never happens draws nothing: older recipes draw what they drew."""
        return probability > 0 and bool(self.rng.random() < probability)

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
