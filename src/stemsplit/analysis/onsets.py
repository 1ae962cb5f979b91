"""How much begins at each moment of a sound: the flux of log-mel bands (Ellis, JNMR 36(1), 2007), block by block."""

from __future__ import annotations

import math

import numpy as np

HOP_S = 0.01
"""From frame to frame."""
_WINDOW_S = 0.046
_BANDS = 40
_LOWEST_HZ, _HIGHEST_HZ = 30.0, 11000.0
_CONTRAST = 1000.0
_FRAMES_AT_ONCE = 512


class Onsets:
    """Takes the blocks of a sound, and gives its onset strength. It keeps 100 numbers per second.

    Args:
        rate: Hz.
    """

    def __init__(self, rate: int) -> None:
        self.hop = round(HOP_S * rate)
        self.rate = rate
        window = 2 ** round(math.log2(_WINDOW_S * rate))
        self._window = np.hanning(window + 1)[:-1].astype(np.float32)
        self._bands = mel_bands(rate, window)
        self._held = np.zeros(window // 2, np.float32)
        self._last = np.zeros((1, _BANDS), np.float32)
        self._flux: list[np.ndarray] = []

    def add(self, samples: np.ndarray) -> None:
        """Take the next block (channels, n)."""
        self._held = np.concatenate([self._held, samples.mean(0, dtype=np.float32)])
        self._take(len(self._window))

    def strength(self) -> np.ndarray:
        """Return the onset strength (frames,); frame i is at i · hop / rate seconds. Nothing can be added then."""
        self._held = np.pad(self._held, (0, len(self._window) // 2))
        self._take(len(self._window))
        return np.concatenate([np.zeros(0, np.float32), *self._flux])

    def _take(self, window: int) -> None:
        while (count := min(_FRAMES_AT_ONCE, (len(self._held) - window) // self.hop + 1)) > 0:
            frames = np.lib.stride_tricks.sliding_window_view(self._held, window)[:: self.hop][:count]
            power = np.abs(np.fft.rfft(frames * self._window)) ** 2
            mel = np.log1p(_CONTRAST * power.astype(np.float32) @ self._bands)
            rise = np.diff(np.concatenate([self._last, mel]), axis=0)
            self._flux.append(np.maximum(rise, 0).mean(1))
            self._last = mel[-1:]
            self._held = self._held[count * self.hop :]


def mel_bands(rate: int, window: int) -> np.ndarray:
    """Return triangles (bins, bands) over the power of a window of `window` samples, evenly spaced on the mel scale."""
    highest = min(_HIGHEST_HZ, rate / 2)
    lowest_mel, highest_mel = (2595 * math.log10(1 + hertz / 700) for hertz in (_LOWEST_HZ, highest))
    mels = np.linspace(lowest_mel, highest_mel, _BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.fft.rfftfreq(window, 1 / rate)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    width = np.maximum(high - low, 2 * rate / window)  # no band is narrower than what the window can tell apart
    triangles = np.clip(1 - np.abs(bins - middle) / (width / 2), 0, None)
    return np.asarray(triangles / triangles.sum(0) / window, np.float32)
