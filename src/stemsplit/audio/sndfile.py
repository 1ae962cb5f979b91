"""Decoding through libsndfile: WAV, RF64, W64, FLAC, AIFF, CAF, Ogg Vorbis, Opus and the like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from stemsplit.audio.callbacks import CallbackFile
from stemsplit.audio.info import LOSSY, AudioInfo
from stemsplit.errors import DecodeError

_DEPTHS = {
    "PCM_S8": "16", "PCM_U8": "16", "PCM_16": "16", "ALAC_16": "16", "DPCM_8": "16", "DPCM_16": "16",
    "PCM_24": "24", "ALAC_20": "24", "ALAC_24": "24",
    "PCM_32": "32f", "ALAC_32": "32f", "FLOAT": "32f", "DOUBLE": "32f",
}  # fmt: skip
_UNKNOWN_LENGTH = 1 << 60  # libsndfile gives SF_COUNT_MAX for a FLAC stream whose header states no length
_MALFORMED = 3


def probe(path: Path) -> AudioInfo | None:
    """Read the header of a file. Return None if libsndfile does not know its format.

    Raises:
        DecodeError: the header is damaged.
    """
    try:
        with _opened(path) as (sound, _):
            frames = sound.frames if 0 <= sound.frames < _UNKNOWN_LENGTH else None
            depth = _DEPTHS.get(sound.subtype, LOSSY)
            rate, channels = sound.samplerate, sound.channels
            return AudioInfo(path, rate, channels, frames, sound.format, sound.subtype, depth)
    except soundfile.LibsndfileError as error:
        if error.code == _MALFORMED:
            raise DecodeError(f"{path}: damaged or cut off: {_reason(error)}") from error
        return None


def blocks(info: AudioInfo, block_samples: int) -> Iterator[np.ndarray]:
    """Yield float32 (channels, n), n ≤ block_samples, until the decoder has no more. Raises: DecodeError."""
    total = 0
    with _opened(info.path) as (sound, source):
        while len(frames := _read(info, sound, source, block_samples)):
            total += len(frames)
            if len(frames) < block_samples and info.frames is not None and total < info.frames:
                raise DecodeError(f"{info.path}: damaged or cut off after {total} of {info.frames} samples")
            yield np.ascontiguousarray(frames.T)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[soundfile.SoundFile, CallbackFile]]:
    with path.open("rb") as file:
        source = CallbackFile(file)
        try:
            sound = soundfile.SoundFile(source, "r")
        finally:
            source.check()
        with sound:
            yield sound, source


def _read(info: AudioInfo, sound: soundfile.SoundFile, source: CallbackFile, frames: int) -> np.ndarray:
    try:
        return np.asarray(sound.read(frames, dtype="float32", always_2d=True))
    except soundfile.LibsndfileError as error:
        raise DecodeError(f"{info.path}: damaged or cut off: {_reason(error)}") from error
    finally:
        source.check()


def _reason(error: soundfile.LibsndfileError) -> str:
    text = str(error.error_string).strip().rstrip(".").removeprefix("Error : ")
    return text[:1].lower() + text[1:]
