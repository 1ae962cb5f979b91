"""A small transform codec for training data: an MDCT whose bands are quantised, packed with LZMA.

It needs only NumPy, so that songs can move to a machine without audio libraries. The MDCT has a sine window of 2,048
samples (J. Princen, A. Bradley, IEEE TASSP 34(5), 1986). Frames overlap by half, and the sum of their inverses is the
signal. The noise of quantisation follows the music: a band's step grows with its own level and, less, with the level of
the loudest band.
"""

from __future__ import annotations

import lzma
import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from stemsplit.errors import StemsplitError

HOP = 1024
"""Samples from one frame to the next, and coefficients per frame. A frame is twice as long."""
EDGES = (*range(0, 32, 4), *range(32, 64, 8), *range(64, 128, 16), *range(128, 256, 32), *range(256, 769, 64))
"""Coefficients at which bands begin, and where the last one ends: 16.5 kHz at a rate of 44.1 kHz."""
GROUP = 4
"""Frames that share their steps."""
COARSENESS = 0.36
"""Step of the loudest band in units of its RMS."""
LEANING = 0.65
"""How much a band's step follows its own level; at 1 all bands have the same ratio of music to noise."""
_FINEST, _LARGEST = 2.0, 127  # the smallest step, in units of an int16; the largest integer of a byte
_HEADER, _MAGIC = struct.Struct("<4sII"), b"SSM1"
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 2, "lc": 3, "lp": 0, "pb": 0}]


class Quantised(NamedTuple):
    """Quantised coefficients of one channel."""

    codes: np.ndarray
    """The steps, (groups, bands) int8: a step is 2 ** (code / 2)."""
    values: np.ndarray
    """Coefficients in units of their steps, (frames, EDGES[-1]) int8."""


def encode(audio: np.ndarray, coarseness: float = COARSENESS) -> bytes:
    """Pack int16 (samples, channels). Two channels are packed as their middle and side."""
    samples, channels = audio.shape
    parts = [quantise(mdct(channel), coarseness) for channel in _turned(audio.T.astype(np.float64))]
    raw = b"".join(part.codes.tobytes() + part.values.T.tobytes() for part in parts)
    packed = lzma.compress(raw, lzma.FORMAT_XZ, filters=_FILTERS)
    return _HEADER.pack(_MAGIC, samples, channels) + packed


def decode(data: bytes) -> np.ndarray:
    """Return what `encode` packed, as int16 (samples, channels).

    Raises:
        StemsplitError: The data are damaged, or something else.
    """
    try:
        magic, samples, channels = _HEADER.unpack_from(data)
        raw = np.frombuffer(lzma.decompress(data[_HEADER.size :], lzma.FORMAT_XZ), np.int8)
    except (struct.error, lzma.LZMAError, EOFError) as error:
        raise StemsplitError(f"packed audio cannot be read: {error}") from error
    frames = frames_of(samples)
    codes, values = -(-frames // GROUP) * (len(EDGES) - 1), frames * EDGES[-1]
    if magic != _MAGIC or raw.size != channels * (codes + values):
        raise StemsplitError("packed audio cannot be read: it is of another kind or cut off")
    channelwise = [_channel(part, codes, frames, samples) for part in raw.reshape(channels, codes + values)]
    audio = _turned(np.stack(channelwise)) * (2.0 if channels == 2 else 1.0)
    decoded: np.ndarray = np.clip(np.round(audio), -32768, 32767).astype(np.int16).T
    return decoded


def _channel(part: np.ndarray, codes: int, frames: int, samples: int) -> np.ndarray:
    """Return one channel (samples,) from its bytes: `codes` steps, then the integers, coefficient by coefficient."""
    quantised = Quantised(part[:codes].reshape(-1, len(EDGES) - 1), part[codes:].reshape(EDGES[-1], frames).T)
    return inverse_mdct(dequantise(quantised), samples)


def _turned(channels: np.ndarray) -> np.ndarray:
    """Turn left and right into middle and side. Twice that is half of left and right.

    Anything but two channels is returned as it is.
    """
    if len(channels) != 2:
        return channels
    return np.stack([channels[0] + channels[1], channels[0] - channels[1]]) / 2


def frames_of(samples: int) -> int:
    """Return the number of frames whose overlapping halves cover so many samples."""
    return -(-samples // HOP) + 1


@lru_cache(maxsize=1)
def basis() -> np.ndarray:
    """Return the windowed cosines, (2 HOP, HOP) float32.

    The columns are orthonormal, also to those of the frames that overlap.
    """
    n, k = np.arange(2 * HOP)[:, None], np.arange(HOP)[None]
    window = np.sin(np.pi * (n + 0.5) / (2 * HOP))
    cosines = np.cos(np.pi / HOP * (n + 0.5 + HOP / 2) * (k + 0.5))
    return np.asarray(window * cosines * np.sqrt(2 / HOP), np.float32)


def mdct(audio: np.ndarray) -> np.ndarray:
    """Transform (samples,) to coefficients (frames, HOP) float32."""
    frames = frames_of(len(audio))
    padded = np.zeros((frames + 1) * HOP, np.float32)
    padded[HOP : HOP + len(audio)] = audio
    halves = padded.reshape(-1, HOP)
    coefficients: np.ndarray = np.concatenate([halves[:-1], halves[1:]], axis=1) @ basis()
    return coefficients


def inverse_mdct(coefficients: np.ndarray, samples: int) -> np.ndarray:
    """Transform coefficients (frames, HOP) to (samples,) float32."""
    frames = coefficients @ basis().T
    halves = np.zeros((len(frames) + 1, HOP), np.float32)
    halves[:-1] += frames[:, :HOP]
    halves[1:] += frames[:, HOP:]
    audio: np.ndarray = halves.reshape(-1)[HOP : HOP + samples]
    return audio


def quantise(coefficients: np.ndarray, coarseness: float = COARSENESS) -> Quantised:
    """Turn coefficients (frames, HOP) into integers that fit a byte, and the step of each band and group of frames."""
    frames = len(coefficients)
    groups = -(-frames // GROUP)
    padded = np.zeros((groups * GROUP, EDGES[-1]), np.float32)
    padded[:frames] = coefficients[:, : EDGES[-1]]
    grouped = padded.reshape(groups, GROUP, -1)
    count = GROUP * np.diff(EDGES)
    level = np.sqrt(np.add.reduceat((grouped**2).sum(1), EDGES[:-1], axis=1) / count)
    peak = np.maximum.reduceat(np.abs(grouped).max(1), EDGES[:-1], axis=1)
    loudest = level.max(axis=1, keepdims=True)
    wanted = coarseness * level**LEANING * loudest ** (1 - LEANING)
    step = np.maximum(np.maximum(wanted, peak / _LARGEST), _FINEST)
    codes = np.ceil(2 * np.log2(step)).astype(np.int8)
    values = np.round(padded / _per_coefficient(codes))
    return Quantised(codes, values[:frames].astype(np.int8))


def dequantise(quantised: Quantised) -> np.ndarray:
    """Return the coefficients (frames, HOP) that integers and steps stand for; they are zero above the last band."""
    frames = len(quantised.values)
    coefficients = np.zeros((frames, HOP), np.float32)
    coefficients[:, : EDGES[-1]] = quantised.values * _per_coefficient(quantised.codes)[:frames]
    return coefficients


def _per_coefficient(codes: np.ndarray) -> np.ndarray:
    """Return the steps of codes (groups, bands) for every frame and coefficient, (groups * GROUP, EDGES[-1])."""
    steps = np.exp2(codes.astype(np.float32) / 2)
    return np.repeat(np.repeat(steps, np.diff(EDGES), axis=1), GROUP, axis=0)
