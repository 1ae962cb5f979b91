"""A small transform codec for training data: an MDCT whose bands are quantised, packed with LZMA.

It needs only NumPy, so that songs can move to a machine without any audio library. The MDCT has a sine window of 2,048
samples (J. Princen, A. Bradley, IEEE TASSP 34(5), 1986) and is its own inverse by overlapping halves. Quantisation
noise follows the music: a band's step grows with its own level and, less, with that of the loudest band.
"""

from __future__ import annotations

import lzma
import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from stemsplit.errors import StemsplitError

HOP = 1024
"""Samples from one frame to the next, and coefficients of a frame; a frame is twice as long."""
EDGES = (*range(0, 32, 4), *range(32, 64, 8), *range(64, 128, 16), *range(128, 256, 32), *range(256, 769, 64))
"""Coefficients at which bands begin, and where the last one ends: 16.5 kHz at a rate of 44.1 kHz."""
GROUP = 4
"""Frames that share their steps."""
COARSENESS = 0.36
"""Step of the loudest band in units of its RMS."""
LEANING = 0.65
"""How much a band's step follows its own level (1: the same ratio of noise in all bands)."""
_FINEST, _LARGEST = 2.0, 127
_HEADER, _MAGIC = struct.Struct("<4sII"), b"SSM1"
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 2, "lc": 3, "lp": 0, "pb": 0}]


class Quantised(NamedTuple):
    """Steps as codes (groups, bands) int8, step = 2 ** (code / 2); integers (frames, EDGES[-1]) int8."""

    codes: np.ndarray
    values: np.ndarray


def encode(audio: np.ndarray, coarseness: float = COARSENESS) -> bytes:
    """Pack int16 (samples, channels); two channels are packed as their middle and side."""
    samples, channels = audio.shape
    parts = [quantise(mdct(channel), coarseness) for channel in _turned(audio.T.astype(np.float64))]
    raw = b"".join(part.codes.tobytes() + part.values.T.tobytes() for part in parts)
    packed = lzma.compress(raw, lzma.FORMAT_XZ, filters=_FILTERS)
    return _HEADER.pack(_MAGIC, samples, channels) + packed


def decode(data: bytes) -> np.ndarray:
    """What `encode` packed, as int16 (samples, channels). Raises StemsplitError if it is something else or damaged."""
    try:
        magic, samples, channels = _HEADER.unpack_from(data)
        raw = np.frombuffer(lzma.decompress(data[_HEADER.size :], lzma.FORMAT_XZ), np.int8)
    except (struct.error, lzma.LZMAError, EOFError) as error:
        raise StemsplitError(f"packed audio cannot be read: {error}") from error
    frames = frames_of(samples)
    codes, values = -(-frames // GROUP) * (len(EDGES) - 1), frames * EDGES[-1]
    if magic != _MAGIC or raw.size != channels * (codes + values):
        raise StemsplitError("packed audio cannot be read: it is of another kind or cut off")
    decoded = [_channel(part, codes, frames, samples) for part in raw.reshape(channels, codes + values)]
    audio = _turned(np.stack(decoded)) * (2.0 if channels == 2 else 1.0)
    return np.clip(np.round(audio), -32768, 32767).astype(np.int16).T


def _channel(part: np.ndarray, codes: int, frames: int, samples: int) -> np.ndarray:
    quantised = Quantised(part[:codes].reshape(-1, len(EDGES) - 1), part[codes:].reshape(EDGES[-1], frames).T)
    return inverse_mdct(dequantise(quantised), samples)


def _turned(channels: np.ndarray) -> np.ndarray:
    """Left and right to middle and side, or half of the way back; anything but two channels stays."""
    if len(channels) != 2:
        return channels
    return np.stack([channels[0] + channels[1], channels[0] - channels[1]]) / 2


def frames_of(samples: int) -> int:
    """Frames whose overlapping halves cover so many samples."""
    return -(-samples // HOP) + 1


@lru_cache(maxsize=1)
def basis() -> np.ndarray:
    """The windowed cosines, (2 HOP, HOP) float32; its columns are orthonormal with those of overlapping frames."""
    n, k = np.arange(2 * HOP)[:, None], np.arange(HOP)[None]
    window = np.sin(np.pi * (n + 0.5) / (2 * HOP))
    cosines = np.cos(np.pi / HOP * (n + 0.5 + HOP / 2) * (k + 0.5))
    return np.asarray(window * cosines * np.sqrt(2 / HOP), np.float32)


def mdct(audio: np.ndarray) -> np.ndarray:
    """(samples,) → (frames, HOP) float32."""
    frames = frames_of(len(audio))
    padded = np.zeros((frames + 1) * HOP, np.float32)
    padded[HOP : HOP + len(audio)] = audio
    halves = padded.reshape(-1, HOP)
    return np.concatenate([halves[:-1], halves[1:]], axis=1) @ basis()


def inverse_mdct(coefficients: np.ndarray, samples: int) -> np.ndarray:
    """(frames, HOP) → (samples,) float32."""
    frames = coefficients @ basis().T
    halves = np.zeros((len(frames) + 1, HOP), np.float32)
    halves[:-1] += frames[:, :HOP]
    halves[1:] += frames[:, HOP:]
    return halves.reshape(-1)[HOP : HOP + samples]


def quantise(coefficients: np.ndarray, coarseness: float = COARSENESS) -> Quantised:
    """Coefficients (frames, HOP) → integers that fit a byte, and the steps of each band in each group of frames."""
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
    """The coefficients (frames, HOP) that integers and steps stand for; zero above the last band."""
    frames = len(quantised.values)
    coefficients = np.zeros((frames, HOP), np.float32)
    coefficients[:, : EDGES[-1]] = quantised.values * _per_coefficient(quantised.codes)[:frames]
    return coefficients


def _per_coefficient(codes: np.ndarray) -> np.ndarray:
    steps = np.exp2(codes.astype(np.float32) / 2)
    return np.repeat(np.repeat(steps, np.diff(EDGES), axis=1), GROUP, axis=0)
