"""Where stems sit between left and right: hard on one side, turned over, narrow, wide.

Rendered songs place their stems as engineers do. Older records, karaoke and broken cables do not: a voice sits on one
side only, or one channel has the other polarity. Nothing here changes what sounds, only where it sounds from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WHOLE = 0.3
"""Share of the placed examples of which the whole mixture is placed; of the others each stem is, by itself."""
MOVED = 0.5
"""Probability that a stem is moved where stems are placed one by one."""
NARROW = (0.0, 0.3)
"""What remains of the difference between the channels."""
WIDE = (1.5, 2.5)
"""What the difference between the channels is multiplied by."""
DELAY_MS = (6.0, 25.0)
"""How much later one channel comes where there is no difference to widen."""
MONO = 1e-3
"""RMS of the difference, relative to the sum, below which there is none."""


def place(stems: np.ndarray, sample_rate: int, rng: np.random.Generator) -> None:
    """Place stems (S, 2, samples) anew, in place."""
    if rng.random() < WHOLE:
        one = _pick(_OF_MIXTURES, rng)
        seed = int(rng.integers(2**31))
        for stem in stems:  # with the same choices for each, so that it is the mixture that is placed
            stem[:] = one(stem, sample_rate, np.random.default_rng(seed))
        return
    for stem in stems:
        if rng.random() < MOVED:
            stem[:] = _pick(_OF_STEMS, rng)(stem, sample_rate, rng)


def hard_panned(stem: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Put the sum of both channels on one side, about as loud as before."""
    placed: np.ndarray = np.zeros_like(stem)
    placed[int(rng.integers(2))] = stem.sum(0) / np.sqrt(2, dtype=stem.dtype)
    return placed


def one_silent(stem: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Silence one channel."""
    placed: np.ndarray = stem.copy()
    placed[int(rng.integers(2))] = 0
    return placed


def turned(stem: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Turn the polarity of one channel."""
    placed: np.ndarray = stem.copy()
    placed[int(rng.integers(2))] *= -1
    return placed


def narrow(stem: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Bring the channels close to each other."""
    return _with_difference(stem, rng.uniform(*NARROW))


def wide(stem: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Widen the difference between the channels; where there is none, let one come later (Haas)."""
    factor, late = rng.uniform(*WIDE), int(rng.integers(2))
    delay = round(rng.uniform(*DELAY_MS) * sample_rate / 1000)
    middle, side = stem.sum(0), stem[0] - stem[1]
    if np.square(side).mean() > np.square(middle).mean() * MONO**2:
        return _with_difference(stem, factor)
    placed: np.ndarray = stem.copy()
    placed[late, delay:], placed[late, :delay] = stem[late, : stem.shape[1] - delay], 0
    return placed


def _with_difference(stem: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the difference between the channels by a factor."""
    middle: np.ndarray = stem.mean(0, keepdims=True)
    placed: np.ndarray = middle + np.float32(factor) * (stem - middle)
    return placed


Placing = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""(stem (2, samples), sample rate in Hz, generator) → the stem elsewhere."""
_OF_STEMS: tuple[Placing, ...] = (hard_panned, hard_panned, turned, narrow, wide)
_OF_MIXTURES: tuple[Placing, ...] = (one_silent, turned, narrow)


def _pick(choices: tuple[Placing, ...], rng: np.random.Generator) -> Placing:
    return choices[int(rng.integers(len(choices)))]
