"""What audio may state of itself: sample rates, channels and levels of music. Headers beyond that cost gigabytes.

With 64 channels or at 1 MHz a song takes about as much memory as it always does, because everything is done in pieces.
"""

from __future__ import annotations

import numpy as np

LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz
MOST_CHANNELS = 64
LOUDEST = 2.0**40
"""A larger sample is no sound. Full scale is 1, but integers of 32 bits that nobody divided are heard, too."""


def rate_problem(sample_rate: float) -> str | None:
    """Return why a sample rate in Hz is refused, or None."""
    if LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        return None
    return f"a sample rate of {sample_rate} Hz: stemsplit knows {LOWEST_RATE} to {HIGHEST_RATE} Hz"


def form_problem(sample_rate: float, channels: int) -> str | None:
    """Return why a sample rate in Hz or a number of channels is refused, or None."""
    if 1 <= channels <= MOST_CHANNELS:
        return rate_problem(sample_rate)
    return f"{channels} channels: stemsplit knows 1 to {MOST_CHANNELS}"


def level_problem(block: np.ndarray) -> str | None:
    """Return why samples (channels, n) are refused, or None. NaN and infinity are not judged here."""
    peak = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
    return f"not audio: it holds samples of {peak:.1e}, where full scale is 1" if LOUDEST < peak < np.inf else None
