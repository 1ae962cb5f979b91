"""Encoding through libsndfile: FLAC, AIFF, MP3, Ogg Vorbis and Opus."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import soundfile

from stemsplit.audio.callbacks import CallbackFile
from stemsplit.audio.ogg import set_serial
from stemsplit.audio.wav import quantize

_WRITE_FRAMES = 4096  # libsndfile's Vorbis encoder keeps a whole write on the C stack
_OPTIONS: dict[str, dict[str, Any]] = {
    "flac": {"format": "FLAC"},
    "aiff": {"format": "AIFF"},
    # 320 kbit/s, or the most that MPEG-2 has
    "mp3": {
        "format": "MP3",
        "subtype": "MPEG_LAYER_III",
        "compression_level": 0.0,
        "bitrate_mode": "CONSTANT",
    },
    # quality 8, about 256 kbit/s for stereo
    "ogg": {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.2},
    # about 130 kbit/s a channel
    "opus": {"format": "OGG", "subtype": "OPUS", "compression_level": 0.5},
}


class SndfileEncoder:
    """Writes one stem to an open, seekable file. ``serial`` becomes the Ogg stream's number.

    Errors of the file itself come through as they are; libsndfile's own are soundfile.SoundFileError.
    """

    def __init__(self, file: BinaryIO, format: str, rate: int, channels: int, bit_depth: str, serial: int) -> None:
        self._sink = CallbackFile(file)
        self._depth, self._serial = bit_depth, serial if format in ("ogg", "opus") else None
        options = {"subtype": f"PCM_{bit_depth}"} | _OPTIONS[format]
        try:
            self._sound = soundfile.SoundFile(self._sink, "w", rate, channels, **options)
        finally:
            self._check_or_abandon()

    def write(self, frames: np.ndarray) -> int:
        """Append float32 (n, channels); how many samples were clamped to ±1."""
        samples, clamped = _encodable(frames, self._depth)
        for start in range(0, len(samples), _WRITE_FRAMES):
            try:
                self._sound.write(samples[start : start + _WRITE_FRAMES])
            finally:
                self._sink.check()
        return clamped

    def finish(self) -> None:
        """Write what the codec still holds, and the header."""
        try:
            self._sound.close()
        finally:
            self._sink.check()
        if self._serial is not None:
            set_serial(self._sink.file, self._serial)

    def abandon(self) -> None:
        """Free the codec without writing any more."""
        self._sink.abandoned = True
        self._sound.close()

    def _check_or_abandon(self) -> None:
        try:
            self._sink.check()
        except BaseException:
            self._sink.abandoned = True  # the codec is freed later, when the file is closed already
            raise


def _encodable(frames: np.ndarray, bit_depth: str) -> tuple[np.ndarray, int]:
    """Samples as libsndfile shall store them. It would scale floats by one step less than it divides by."""
    if bit_depth == "16":
        return quantize(frames, bit_depth)
    if bit_depth == "24":
        samples, clamped = quantize(frames, bit_depth)
        return samples << 8, clamped  # it keeps the upper 24 bits of 32
    return np.clip(frames, -1.0, 1.0), int(np.count_nonzero(np.abs(frames) > 1.0))
