"""Mel bands: which bins each triangle of Slaney's mel filter bank covers (Auditory Toolbox, 1998)."""

from __future__ import annotations

import math

import numpy as np

LINEAR_HZ_PER_MEL = 200 / 3
"""Below `LINEAR_UP_TO_HZ` a mel is so many Hz."""
LINEAR_UP_TO_HZ = 1000.0
MELS_PER_NEPER = 27 / math.log(6.4)
"""Above it 27 mels are a factor of 6.4 in frequency."""


def mel_of(hertz: float) -> float:
    """Return the mel of a frequency."""
    if hertz < LINEAR_UP_TO_HZ:
        return hertz / LINEAR_HZ_PER_MEL
    return LINEAR_UP_TO_HZ / LINEAR_HZ_PER_MEL + MELS_PER_NEPER * math.log(hertz / LINEAR_UP_TO_HZ)


def hertz_of(mels: np.ndarray) -> np.ndarray:
    """Return the frequencies of mels; the inverse of `mel_of`."""
    above = mels - LINEAR_UP_TO_HZ / LINEAR_HZ_PER_MEL
    found = np.where(above < 0, mels * LINEAR_HZ_PER_MEL, LINEAR_UP_TO_HZ * np.exp(above / MELS_PER_NEPER))
    return np.asarray(found)


def mel_bands(bands: int, sample_rate: int, n_fft: int) -> list[np.ndarray]:
    """Return the bins of each band, from 0 Hz to half the sample rate; neighbours overlap.

    The corners of the triangles are evenly spaced in mels. The first bin and the last one, where every triangle is
    zero, belong to the first band and to the last one (Wang et al. 2023, arXiv 2310.01809).

    Raises: ValueError if a band has no bin, or a bin no band, since there are too many bands for this n_fft.
    """
    corners = hertz_of(np.linspace(0, mel_of(sample_rate / 2), bands + 2))
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    covered = np.minimum(rising, falling) > 0
    covered[0, 0] = covered[-1, -1] = True
    if not (covered.any(0).all() and covered.any(1).all()):
        raise ValueError(f"{bands} mel bands are too many for n_fft {n_fft} at {sample_rate} Hz")
    return [np.flatnonzero(row) for row in covered]
