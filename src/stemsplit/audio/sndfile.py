"""Decoding through libsndfile: WAV, RF64, W64, FLAC, AIFF, CAF, Ogg Vorbis, Opus and the like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from stemsplit.audio.info import LOSSY, AudioInfo
from stemsplit.errors import DecodeError

_DEPTHS = {
    "PCM_S8": "16", "PCM_U8": "16", "PCM_16": "16", "ALAC_16": "16", "DPCM_8": "16", "DPCM_16": "16",
    "PCM_24": "24", "ALAC_20": "24", "ALAC_24": "24",
    "PCM_32": "32f", "ALAC_32": "32f", "FLOAT": "32f", "DOUBLE": "32f",
}  # fmt: skip
_UNKNOWN_LENGTH = 1 << 60  # libsndfile says SF_COUNT_MAX for a FLAC stream whose header has no length
_MALFORMED = 3


class _Source:
    """A file for libsndfile's callbacks: a read error is kept here, since an exception cannot cross C.

    It has no ``name``, so that libsndfile judges a file by its content: given a name it takes any ``.vox`` or
    ``.au`` for headerless samples.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def readinto(self, buffer: memoryview) -> int:
        try:
            return self._file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as error:
            self.error = error
            return 0

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # a damaged header sends libsndfile before the start of the file
            return -1

    def tell(self) -> int:
        return self._file.tell()


def probe(path: Path) -> AudioInfo | None:
    """The header of a file; None when libsndfile does not know its format, DecodeError when it is broken."""
    with path.open("rb") as file:
        try:
            sound = soundfile.SoundFile(_Source(file), "r")
        except soundfile.LibsndfileError as error:
            if error.code == _MALFORMED:
                raise DecodeError(f"{path}: damaged or cut off: {_reason(error)}") from error
            return None
        with sound:
            frames = sound.frames if 0 <= sound.frames < _UNKNOWN_LENGTH else None
            depth = _DEPTHS.get(sound.subtype, LOSSY)
            rate, channels = sound.samplerate, sound.channels
            return AudioInfo(path, rate, channels, frames, sound.format, sound.subtype, depth)


def blocks(info: AudioInfo, block_samples: int) -> Iterator[np.ndarray]:
    """Yield float32 (channels, n) with n ≤ block_samples until the decoder has no more."""
    with info.path.open("rb") as file:
        source = _Source(file)
        try:
            with soundfile.SoundFile(source, "r") as sound:
                yield from _read(info, sound, block_samples)
        except soundfile.LibsndfileError as error:
            raise DecodeError(f"{info.path}: damaged or cut off: {_reason(error)}") from error
        if source.error is not None:
            raise DecodeError(f"{info.path}: {source.error.strerror}") from source.error


def _read(info: AudioInfo, sound: soundfile.SoundFile, block_samples: int) -> Iterator[np.ndarray]:
    total = 0
    while len(frames := sound.read(block_samples, dtype="float32", always_2d=True)):
        total += len(frames)
        if len(frames) < block_samples and info.frames is not None and total < info.frames:
            raise DecodeError(f"{info.path}: damaged or cut off after {total} of {info.frames} samples")
        yield np.ascontiguousarray(frames.T)


def _reason(error: soundfile.LibsndfileError) -> str:
    reason = str(error.error_string).strip().rstrip(".").removeprefix("Error : ")
    return reason[:1].lower() + reason[1:]
