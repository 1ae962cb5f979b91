"""The mix bus: compression and limiting of the sum.

Every stem gets the gain of the sum, so that the stems still add up to it. Arrays are float32 (2, samples) at 44.1 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage, signal

from songs.mix.effects import RATE


def compression(mixture: np.ndarray, ratio: float, threshold_db: float, seconds: float) -> np.ndarray:
    """Return a gain curve (samples,) that turns down what is louder than a threshold.

    Args:
        mixture: What is to be compressed, (2, samples).
        ratio: How many dB above the threshold become one.
        threshold_db: The threshold, relative to the loudest moment.
        seconds: Time constant of the level that is compared with the threshold.
    """
    keep = np.exp(-1 / (seconds * RATE))
    power = signal.lfilter([1 - keep], [1, -keep], np.mean(mixture**2, axis=0))
    level = np.sqrt(np.maximum(power, 1e-12))
    over = level / (level.max() * 10 ** (threshold_db / 20))
    gain: np.ndarray = np.minimum(1.0, over ** (1 / ratio - 1)).astype(np.float32)
    return gain


def limiting(mixture: np.ndarray, ceiling: float, look_ms: float = 5.0) -> np.ndarray:
    """Return a gain curve (samples,) with which no sample of the mixture exceeds the ceiling.

    The gain falls `look_ms` before a peak, so that it falls smoothly.
    """
    width = 2 * round(look_ms / 1000 * RATE) + 1
    needed = np.minimum(1.0, ceiling / np.maximum(np.abs(mixture).max(axis=0), 1e-9))
    lowest = ndimage.minimum_filter1d(needed, 2 * width + 1, mode="nearest")
    smooth: np.ndarray = np.minimum(ndimage.uniform_filter1d(lowest, width, mode="nearest"), needed)
    return smooth.astype(np.float32)


def master(rng: np.random.Generator, stems: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Make stems as loud as on a record: compress their sum, then push it into the limiter by up to 12 dB.

    The sum stays below 0.98. If a stem alone exceeds 0.99, all are turned down together.

    Returns:
        The stems, and the settings that were drawn.
    """
    mixture = np.sum(list(stems.values()), axis=0)
    ratio, push = float(rng.uniform(1.3, 4)), float(rng.choice([0.0, 3.0, 6.0, 9.0, 12.0]))
    gain = compression(mixture, ratio, float(rng.uniform(-18, -6)), float(rng.uniform(0.01, 0.2)))
    peak = float(np.abs(mixture * gain).max(initial=1e-9))
    gain = gain * np.float32(10 ** (push / 20) * 0.98 / peak)
    gain = gain * limiting(mixture * gain, 0.98)
    loudest = max(float(np.abs(stem * gain).max(initial=1e-9)) for stem in stems.values())
    gain = gain * np.float32(min(1.0, 0.99 / loudest))
    return {name: stem * gain for name, stem in stems.items()}, {"ratio": round(ratio, 2), "push_db": push}
