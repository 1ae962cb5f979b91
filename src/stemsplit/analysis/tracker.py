"""Onset strength → beats, by dynamic programming (Ellis, JNMR 36(1), 2007)."""

from __future__ import annotations

import numpy as np

SLOWEST_BPM, FASTEST_BPM = 40.0, 240.0
_USUAL_BPM, _SPREAD = 120.0, 0.7
"""Most songs are near this, within so many octaves."""
_SPANS = (1, 2, 4, 8)
"""Beats after which music comes back: a dotted rhythm alone does not make a tempo."""
_TIGHTNESS = 400.0


def track_beats(strength: np.ndarray, frame_s: float) -> np.ndarray:
    """Return the times of beats (n,) in seconds, in onset strength (frames,) with a frame every `frame_s` seconds."""
    if not strength.size or not strength.any():
        return np.zeros(0)
    level = strength / strength.std()
    period = likely_period(level, frame_s)
    return np.array(_best_path(_smoothed(level, period / 32), period)) * frame_s


def likely_period(level: np.ndarray, frame_s: float) -> float:
    """Return the frames from beat to beat, by the autocorrelation of onset strength (frames,) and what is usual."""
    centred = level - level.mean()
    size = 1 << (2 * len(centred) - 1).bit_length()
    longest = min(int(_SPANS[-1] * 60 / SLOWEST_BPM / frame_s) + 2, size)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2)[:longest]
    overlap = np.maximum(len(centred) - np.arange(longest), len(centred) / 4)
    correlation *= len(centred) / overlap  # or else long lags would count less
    lags = np.arange(60 / FASTEST_BPM / frame_s, 60 / SLOWEST_BPM / frame_s, 0.1)
    places = np.arange(longest)
    found = np.sum([np.interp(span * lags, places, correlation, right=0.0) for span in _SPANS], axis=0)
    octaves = np.log2(60 / (lags * frame_s) / _USUAL_BPM)
    weighted = np.maximum(found, 0) * np.exp(-0.5 * (octaves / _SPREAD) ** 2)
    return float(lags[int(weighted.argmax())])


def _smoothed(level: np.ndarray, width: float) -> np.ndarray:
    reach = int(np.ceil(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 0.3)) ** 2)
    return np.convolve(level, kernel, "same")


def _best_path(level: np.ndarray, period: float) -> list[int]:
    """Return the frames of beats that are strong, and about `period` frames apart."""
    steps = np.arange(-round(2 * period), -round(period / 2) + 1)
    cost = -_TIGHTNESS * np.log(-steps / period) ** 2
    total, before = np.zeros(len(level)), np.full(len(level), -1)
    padded = np.concatenate([np.zeros(-steps[0]), total])
    for at in range(len(level)):
        came = padded[at : at + len(steps)] + cost
        best = int(came.argmax())
        total[at] = level[at] + came[best]
        padded[at - steps[0]] = total[at]
        before[at] = at + steps[best]
    at = len(level) - 1 - int(total[::-1][: round(period) + 1].argmax())
    path: list[int] = []
    while at >= 0:
        path.append(at)
        at = int(before[at])
    return path[::-1]
