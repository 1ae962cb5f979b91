"""Decoding through libsndfile: WAV, RF64, W64, FLAC, AIFF, CAF, Ogg Vorbis, Opus and the like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from stemsplit.audio.containers.callbacks import CallbackFile
from stemsplit.audio.containers.speakers import from_vorbis, names_speakers
from stemsplit.audio.containers.tags import sound_end
from stemsplit.audio.containers.view import WHOLE, View
from stemsplit.audio.info import LOSSY, AudioInfo, form_problem
from stemsplit.errors import DamagedError, DecodeError

_DEPTHS = {
    "PCM_S8": "16", "PCM_U8": "16", "PCM_16": "16", "ALAC_16": "16", "DPCM_8": "16", "DPCM_16": "16",
    "PCM_24": "24", "ALAC_20": "24", "ALAC_24": "24",
    "PCM_32": "32f", "ALAC_32": "32f", "FLOAT": "32f", "DOUBLE": "32f",
}  # fmt: skip
_UNKNOWN_LENGTH = 1 << 60  # libsndfile gives SF_COUNT_MAX for a FLAC stream whose header states no length
_MALFORMED = 3
_READ_AHEAD = {"FLAC": 1 << 17}  # container whose header states the end → bytes that may follow the sound


def probe(path: Path, view: View = WHOLE) -> AudioInfo | None:
    """Read the header of what a view shows of a file. Return None if libsndfile does not know its format.

    Raises:
        DecodeError: the header is damaged, or states a rate or channels that no audio has.
    """
    try:
        with _opened(path, view) as (sound, _):
            frames = sound.frames if 0 <= sound.frames < _UNKNOWN_LENGTH else None
            depth = _DEPTHS.get(sound.subtype, LOSSY)
            rate, channels = sound.samplerate, sound.channels
            if problem := form_problem(rate, channels):
                raise DecodeError(f"{path}: {problem}")
            return AudioInfo(path, rate, channels, frames, sound.format, sound.subtype, depth, view=view)
    except soundfile.LibsndfileError as error:
        if error.code == _MALFORMED:
            raise DecodeError(f"{path}: damaged or cut off: {_reason(error)}") from error
        return None


def blocks(info: AudioInfo, block_samples: int) -> Iterator[np.ndarray]:
    """Yield float32 (channels, n), n ≤ block_samples, until the decoder has no more.

    Raises:
        DamagedError: the decoder stops before the end that the header states, or the file goes on long after it.
    """
    total, order = 0, _order(info)
    with _opened(info.path, info.view) as (sound, source):
        while len(frames := _read(info, sound, source, block_samples)):
            total += len(frames)
            yield np.ascontiguousarray(frames.T if order is None else frames.T[order])
        left = _unread_bytes(source) if info.container in _READ_AHEAD else 0
    if info.frames is not None and total < info.frames:
        raise DamagedError(f"{info.path}: damaged or cut off after {total} of {info.frames} samples")
    if left > _READ_AHEAD.get(info.container, left):
        raise DamagedError(f"{info.path}: {left} bytes follow after the end that its header states")


def _order(info: AudioInfo) -> list[int] | None:
    """Return which channels of the decoder make ours; None if they are ours already."""
    if info.subtype not in ("VORBIS", "OPUS") or not names_speakers(info.path, info.view):
        return None
    return from_vorbis(info.channels)


def _unread_bytes(source: CallbackFile) -> int:
    """Return how many bytes the decoder did not ask for, without the tags at the end of the file."""
    at = source.tell()
    return sound_end(source.file) - at


@contextmanager
def _opened(path: Path, view: View) -> Iterator[tuple[soundfile.SoundFile, CallbackFile]]:
    with view.open(path) as file:
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
        raise DamagedError(f"{info.path}: damaged or cut off: {_reason(error)}") from error
    finally:
        source.check()


def _reason(error: soundfile.LibsndfileError) -> str:
    text = str(error.error_string).strip().rstrip(".").removeprefix("Error : ")
    return text[:1].lower() + text[1:]
