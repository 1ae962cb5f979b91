"""What is done to a whole mix at the end, and so to each of its stems: a limiter, a low-pass.

Commercial music is limited, rendered mixes are not. Jeon and Lee (LimitAug, arXiv 2208.14355) limit mixtures while they
train, and multiply the stems by the limiter's gain too, so that they still add up to the mixture.
"""

from __future__ import annotations

import math

import numpy as np

BLOCK_MS = 1.5
"""The limiter's gain falls within this time, ahead of the peak."""
EDGE = 0.94
"""Where a low-pass begins to fall, relative to its cut."""


def limiter_gain(mixture: np.ndarray, ceiling: float, release_ms: float, sample_rate: int) -> np.ndarray:
    """Return the gain (samples,), at most 1, that keeps a mixture (C, samples) within ±`ceiling`.

    The gain is piecewise linear, with a node every `BLOCK_MS`. Before a peak it falls within a block. Then it comes
    back to 1 exponentially, with the time constant `release_ms`.
    """
    samples = mixture.shape[-1]
    block = max(1, round(BLOCK_MS * sample_rate / 1000))
    count = math.ceil(samples / block)
    peaks = np.zeros(count * block, np.float32)
    peaks[:samples] = np.abs(mixture).max(0)
    needed = np.minimum(1.0, ceiling / np.maximum(peaks.reshape(count, block).max(1), 1e-9))
    held = _released(needed, math.exp(-BLOCK_MS / release_ms))
    nodes = np.minimum(np.append(held[0], held), np.append(held, held[-1]))  # at the borders of blocks
    gain: np.ndarray = np.interp(np.arange(samples), np.arange(count + 1) * block, nodes).astype(np.float32)
    return gain


def _released(needed: np.ndarray, keep: float) -> np.ndarray:
    """Return gains that fall at once to what is needed, and of whose distance from 1 `keep` is left a block later."""
    held, reduction = np.empty_like(needed), 0.0
    for index, gain in enumerate(needed.tolist()):
        reduction = max(1.0 - gain, reduction * keep)
        held[index] = 1.0 - reduction
    return held


def low_pass(stems: np.ndarray, cut_hz: float, sample_rate: int) -> np.ndarray:
    """Return stems (…, samples) with nothing above `cut_hz`; a cosine leads there from `EDGE` of it."""
    spectra = np.fft.rfft(stems)
    frequencies = np.fft.rfftfreq(stems.shape[-1], 1 / sample_rate)
    fall = np.clip((frequencies / cut_hz - EDGE) / (1 - EDGE), 0, 1)
    passed: np.ndarray = np.fft.irfft(spectra * (0.5 + 0.5 * np.cos(np.pi * fall)), stems.shape[-1])
    return passed.astype(stems.dtype)
