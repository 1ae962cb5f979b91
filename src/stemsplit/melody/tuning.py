"""To which A4 did the singer sing?"""

from __future__ import annotations

import numpy as np

from stemsplit.errors import UsageError

STANDARD_HZ = 440.0
LOWEST_HZ, HIGHEST_HZ = 220.0, 880.0
_EVIDENCE = 3.0  # of the Rayleigh test: with less, notes that agree by chance are as likely as 5 %


def checked_tuning(hz: float) -> float:
    """A tuning that the user gave, as it is.

    Raises: UsageError outside of 220 … 880 Hz.
    """
    if not LOWEST_HZ <= hz <= HIGHEST_HZ:
        raise UsageError(f"--tuning {hz:g} Hz is not an A4: choose {LOWEST_HZ:.0f} to {HIGHEST_HZ:.0f}, as in 440")
    return float(hz)


def estimate_tuning(semitones: np.ndarray, weights: np.ndarray) -> float:
    """A4 in Hz, within 50 cents of 440, to which notes deviate least from the tempered scale.

    It is the weighted circular mean of their deviations. If these do not agree (Rayleigh's test at 5 %: Fisher,
    "Statistical Analysis of Circular Data", 1993, section 4.3), no tuning can be heard, and 440 stands. So it does for
    one or two notes, which agree by themselves.

    Args:
        semitones: (n,) MIDI pitches of notes at 440 Hz, fractional; weights: (n,), their seconds times confidence.
    """
    total = float(weights.sum())
    if not total > 0:  # NaN too
        return STANDARD_HZ
    mean = complex((weights * np.exp(2j * np.pi * semitones)).sum() / total)
    count = total**2 / float((weights**2).sum())  # of equally heavy notes that would weigh as much
    if count * abs(mean) ** 2 < _EVIDENCE * (1 - 1e-9):
        return STANDARD_HZ
    return float(STANDARD_HZ * 2 ** (np.angle(mean) / (2 * np.pi) / 12))
