"""A file or an array → audio that can be read in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemsplit.audio import AudioInfo, blocks, probe
from stemsplit.audio.info import MOST_CHANNELS, Warn, form_problem, level_problem
from stemsplit.errors import DecodeError, EmptyAudioError, UsageError

BLOCK_SAMPLES = 65536


@dataclass(frozen=True)
class Source:
    """Audio that can be read from its start more than once: float32 blocks (channels, n), rate in Hz."""

    blocks: Callable[[Warn | None], Iterator[np.ndarray]]
    sample_rate: int
    channels: int


def file_source(info: AudioInfo) -> Source:
    """Return a file as something to read."""

    def read(warn: Warn | None) -> Iterator[np.ndarray]:
        return blocks(info, warn=warn)

    return Source(read, info.sample_rate, info.channels)


def open_source(
    source: str | Path | np.ndarray, sample_rate: int | None, *, track: int | None = None, salvage: bool = False
) -> tuple[Source, str]:
    """Return a file, or float samples (channels, n) or (n,) at `sample_rate` Hz, and the bit depth it needs.

    Args:
        source: the file or the samples.
        sample_rate: of samples.
        track: which of a file's sound tracks, from 1.
        salvage: read what is there of a file of which a part is missing.

    Raises:
        AudioError: and its kinds; the file cannot be read.
        UsageError: an array that is no audio, or a choice that it does not have.
        EmptyAudioError: there are no samples.
    """
    if isinstance(source, (str, Path)):
        if sample_rate is not None:
            raise UsageError("sample_rate is for arrays: a file says its own")
        info = probe(Path(source), track=track, salvage=salvage)
        return file_source(info), info.bit_depth
    if track is not None:
        raise UsageError("audio_track is for files: an array is one track")
    return _array_source(np.asarray(source), sample_rate), "32f"


def _array_source(samples: np.ndarray, sample_rate: int | None) -> Source:
    if sample_rate is None or sample_rate < 1:
        raise UsageError("an array needs its sample_rate, in Hz")
    if not np.issubdtype(samples.dtype, np.floating):
        raise UsageError(f"samples of type {samples.dtype}: floats at ±1 are needed")
    samples = np.atleast_2d(samples)
    if samples.ndim != 2 or samples.shape[0] > max(MOST_CHANNELS, samples.shape[1]):
        raise UsageError(f"an array of shape {samples.shape}: (channels, samples) is needed")
    if not samples.size:
        raise EmptyAudioError(f"an array of shape {samples.shape} holds no samples")
    if problem := form_problem(sample_rate, samples.shape[0]):
        raise UsageError(f"an array with {problem}")

    def read(warn: Warn | None) -> Iterator[np.ndarray]:
        for start in range(0, samples.shape[1], BLOCK_SAMPLES):
            block = samples[:, start : start + BLOCK_SAMPLES].astype(np.float32)
            if problem := level_problem(block):
                raise DecodeError(f"the array is {problem}")
            yield block

    return Source(read, sample_rate, samples.shape[0])
