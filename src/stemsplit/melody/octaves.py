"""Frames that the network reads too low, found in the sound itself and put right in the posteriors.

A network that has hardly heard high voices takes one at 1,000 Hz for one at 500 or 333 Hz, and is sure of it. But a
voice at f has harmonics at f, 2f, 3f and so on. If of these only 2f, 4f and 6f are there, its pitch is 2f; if only 3f
and 6f are there, it is 3f. So what is believed of the claimed pitch is moved up by an octave or a twelfth. If that
leads beyond the pitches that the network tells apart, the frame counts as not sung.

What lies between the harmonics of a real voice (breath, other instruments) keeps frames as they are: only where nothing
is there to speak for the lower pitch is it given up.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from stemsplit.melody.pitch import CENTS_PER_OCTAVE, PitchGrid

LOWEST_HZ = 350.0
"""Lower claims are left alone: the network has heard many such voices, and their harmonics lie close together."""
MISSING_DB = 26.0
"""Harmonics this far below the others are missing. On voices, shifted by an octave or not, 20 and 32 gave the same."""
WINDOW_S = 0.040
FACTORS = (2, 3)
HARMONICS = np.arange(1, 7)
OFFSETS = np.array([-0.03, -0.015, 0.0, 0.015, 0.03])
"""Where a harmonic is looked for, relative to its frequency: half a semitone, for vibrato and the width of a bin."""
NEAR_CENTS = 120.0
"""What is believed this close to the claimed pitch moves with it."""
TINY = np.float32(1e-7)
BLOCK = 1000  # frames


def context_frames(sample_rate: int, hop: int) -> int:
    """Return how many frames on either side the sound of a frame reaches into."""
    return math.ceil(WINDOW_S * sample_rate / 2 / hop)


class Octaves:
    """Puts the posteriors of a voice right, and then those of the song that it was separated from.

    Args:
        grid: the pitches of the posteriors.
        sample_rate: of the voice, in Hz.
        hop: samples from frame to frame.
    """

    def __init__(self, grid: PitchGrid, sample_rate: int, hop: int) -> None:
        self._grid, self._rate, self._hop = grid, sample_rate, hop
        self._found: deque[tuple[int, int]] = deque()

    def of_the_voice(self, rows: np.ndarray, samples: np.ndarray, first: int) -> np.ndarray:
        """Return posteriors (n, 1 + bins) put right. Their frames begin at frame `first` of the samples (k,)."""
        claims = rows[:, 1:].argmax(1)
        factors = self._factors(claims, samples, first)
        self._found.extend(zip(claims.tolist(), factors.tolist(), strict=True))
        return self._raised(rows, claims, factors)

    def of_the_song(self, rows: np.ndarray, samples: np.ndarray, first: int) -> np.ndarray:
        """Return posteriors of the song (n, 1 + bins), changed as those of the same frames of the voice were.

        In the song itself other instruments fill the gaps between the harmonics.
        """
        known = [self._found.popleft() for _ in range(min(len(rows), len(self._found)))]
        claims, factors = np.array([*known, *[(0, 1)] * (len(rows) - len(known))], dtype=np.int64).reshape(-1, 2).T
        return self._raised(rows, claims, factors)

    def _factors(self, claims: np.ndarray, samples: np.ndarray, first: int) -> np.ndarray:
        """Return by how much the pitch of each frame is too low, (n,): 1 if it is right."""
        factors = np.ones(len(claims), np.int64)
        hertz = self._grid.hz_of(claims)
        high = np.flatnonzero(hertz >= LOWEST_HZ)
        window = round(WINDOW_S * self._rate)
        padded = np.pad(samples, (window // 2, window))
        for start in range(0, len(high), BLOCK):
            frames = high[start : start + BLOCK]
            places = ((first + frames) * self._hop)[:, None] + np.arange(window)
            levels = self._levels(padded[np.minimum(places, len(padded) - 1)], hertz[frames])
            for factor in FACTORS:
                kept = HARMONICS % factor == 0
                factors[frames[levels[:, kept].max(1) - levels[:, ~kept].max(1) >= MISSING_DB]] = factor
        return factors

    def _levels(self, pieces: np.ndarray, hertz: np.ndarray) -> np.ndarray:
        """Return the levels in dB of the harmonics of hertz (n,) in pieces of sound (n, window): (n, harmonics)."""
        size = 1 << (2 * pieces.shape[1] - 1).bit_length()
        spectra = np.abs(np.fft.rfft(pieces * np.hanning(pieces.shape[1]), size))
        looked = hertz[:, None, None] * HARMONICS[:, None] * (1 + OFFSETS)
        bins = np.minimum(np.rint(looked * size / self._rate).astype(np.int64), size // 2)
        found = spectra[np.arange(len(hertz))[:, None, None], bins].max(2)
        return np.asarray(20 * np.log10(found + TINY))

    def _raised(self, rows: np.ndarray, claims: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """Return the rows; in those with a factor above 1 what is believed of the claims has moved up."""
        if (factors == 1).all():
            return rows
        rows, bins, near = rows.copy(), self._grid.bins, round(NEAR_CENTS / self._grid.cents)
        for frame in np.flatnonzero(factors > 1).tolist():
            up = round(CENTS_PER_OCTAVE * math.log2(factors[frame]) / self._grid.cents)
            low = 1 + np.arange(max(claims[frame] - near, 0), min(claims[frame] + near + 1, bins))
            moved = rows[frame, low].copy()
            rows[frame, low] = TINY
            if claims[frame] + up >= bins:
                rows[frame, 0] += moved.sum()
            else:
                np.add.at(rows[frame], np.minimum(low + up, bins), moved)  # none is told apart above the last bin
            rows[frame] /= rows[frame].sum()
        return rows
