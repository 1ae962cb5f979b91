"""Which pitch classes sound: peaks of the spectrum, folded into one octave with what they may be harmonics of.

A harmonic pitch class profile (Gómez, INFORMS J. Comput. 18(3), 2006), block by block. It is finer than a semitone, so
that the tuning of the whole song can be taken into account at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FINE = 10
"""Steps of a semitone that are told apart."""
CLASSES = 12
_WINDOW_S = 0.37
_HOP_S = 0.093
_HARMONICS = 5
_DECAY = 0.6
"""How much less likely a peak is a harmonic than the one below it."""
_FLOOR_DB = 60.0
"""Peaks this far below the strongest of their frame are not heard."""
_SILENCE = 1e-7
"""A magnitude that nobody hears; full scale is near 0.5."""
_AGREEMENT = 0.25
"""So much of a song must lie on one side of the semitones for it to be out of tune."""
_FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class Chroma:
    """Pitch classes over time.

    Attributes:
        values: (frames, 12 · FINE) of energy; class c of A4 = 440 Hz is at FINE · c, C is 0.
        hop_s: from frame to frame; frame i is centred at i · hop_s.
    """

    values: np.ndarray
    hop_s: float

    @property
    def steps(self) -> np.ndarray:
        """Return how much sounds at each of the FINE steps of a semitone, (FINE,)."""
        return np.asarray(self.values.sum(0, dtype=np.float64).reshape(CLASSES, FINE).sum(0))

    def tuned(self, semitones: float) -> np.ndarray:
        """Return (frames, 12) for a song that is so many semitones sharp."""
        steps = np.arange(CLASSES * FINE) / FINE - semitones
        away = np.abs((steps[:, None] - np.arange(CLASSES) + 6) % CLASSES - 6)
        weights = np.cos(np.pi / 2 * np.minimum(away / 0.5, 1)) ** 2
        return self.values @ weights.astype(np.float32)


class Pitches:
    """Takes the blocks of a sound, and gives its chroma. It keeps some 5 kB per second.

    Args:
        rate: Hz.
        low: the lowest peak in Hz.
        high: the highest.
    """

    def __init__(self, rate: int, low: float, high: float) -> None:
        self.hop, self.rate = round(_HOP_S * rate), rate
        window = 2 ** round(np.log2(_WINDOW_S * rate))
        self._window = np.hanning(window + 1)[:-1].astype(np.float32)
        self._range = low * window / rate, high * window / rate
        self._held = np.zeros(window // 2, np.float32)
        self._frames: list[np.ndarray] = []

    def add(self, samples: np.ndarray) -> None:
        """Take the next block (channels, n)."""
        self._held = np.concatenate([self._held, samples.mean(0, dtype=np.float32)])
        self._take()

    def chroma(self) -> Chroma:
        """Return what was heard. Nothing can be added then."""
        self._held = np.pad(self._held, (0, len(self._window) // 2))
        self._take()
        values = np.concatenate([np.zeros((0, CLASSES * FINE), np.float32), *self._frames])
        return Chroma(values, self.hop / self.rate)

    def _take(self) -> None:
        window = len(self._window)
        while (count := min(_FRAMES_AT_ONCE, (len(self._held) - window) // self.hop + 1)) > 0:
            frames = np.lib.stride_tricks.sliding_window_view(self._held, window)[:: self.hop][:count]
            self._frames.append(self._folded(np.abs(np.fft.rfft(frames * self._window)) / window))
            self._held = self._held[count * self.hop :]

    def _folded(self, spectra: np.ndarray) -> np.ndarray:
        """Fold magnitudes (frames, bins) into (frames, 12 · FINE)."""
        rows, pitches, heights = self._peaks(np.log(np.maximum(spectra, _SILENCE)))
        weights = np.sqrt(np.exp(heights))
        found = np.zeros(len(spectra) * CLASSES * FINE)
        for harmonic in range(1, _HARMONICS + 1):
            step = np.round((pitches - 12 * np.log2(harmonic)) * FINE).astype(int) % (CLASSES * FINE)
            found += np.bincount(rows * CLASSES * FINE + step, weights * _DECAY ** (harmonic - 1), len(found))
        return found.reshape(len(spectra), -1).astype(np.float32)

    def _peaks(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the frame, the pitch (MIDI) and the height of every peak in log magnitudes (frames, bins).

        The place of a peak is that of the parabola through it and its neighbours.
        """
        lowest, highest = max(1, int(self._range[0])), min(int(self._range[1]), logs.shape[1] - 2)
        left, middle, right = (logs[:, lowest + k : highest + k] for k in (-1, 0, 1))
        floor = np.maximum(middle.max(1, keepdims=True) - _FLOOR_DB / 8.686, np.log(10 * _SILENCE))
        there = (middle > left) & (middle >= right) & (middle > floor)
        rows, columns = np.nonzero(there)
        before, height, after = left[there], middle[there], right[there]
        offset = 0.5 * (before - after) / np.minimum(before - 2 * height + after, -1e-9)
        hertz = (columns + lowest + offset) * self.rate / len(self._window)
        return rows, 69 + 12 * np.log2(hertz / 440), height


def tuning_of(*parts: Chroma) -> float:
    """Return by how many semitones a song is sharp of A4 = 440 Hz, from -0.5 to 0.5; 0 where its parts do not agree."""
    steps = np.sum([part.steps for part in parts], axis=0)
    turned = complex((steps * np.exp(2j * np.pi * np.arange(FINE) / FINE)).sum())
    if abs(turned) < _AGREEMENT * steps.sum() or not steps.any():
        return 0.0
    return float(np.angle(turned) / (2 * np.pi))
