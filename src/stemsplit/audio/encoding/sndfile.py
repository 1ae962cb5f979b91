"""Encoding through libsndfile: FLAC, AIFF, Ogg Vorbis and Opus."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import soundfile

from stemsplit.audio.containers.callbacks import CallbackFile
from stemsplit.audio.containers.ogg import set_serial
from stemsplit.audio.containers.speakers import to_vorbis
from stemsplit.audio.encoding.bitrates import OPUS_PER_CHANNEL, vorbis_quality

_WRITE_FRAMES = 4096  # libsndfile's Vorbis encoder puts all samples of one call on the C stack
_OPTIONS: dict[str, dict[str, Any]] = {
    "flac": {"format": "FLAC"},
    "aiff": {"format": "AIFF"},
    # quality 8, about 256 kbit/s for stereo
    "ogg": {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.2},
    # about 130 kbit/s per channel
    "opus": {"format": "OGG", "subtype": "OPUS", "compression_level": 0.5},
}


class SndfileEncoder:
    """An encoder of one stem, by libsndfile, to an open and seekable file.

    Errors of the file are raised as they are. Errors of libsndfile are soundfile.SoundFileError.

    Args:
        file: where to write.
        format: a key of `FORMATS` other than "wav".
        rate: Hz.
        channels: how many.
        bit_depth: one that the format has.
        serial: the serial number of the stream, in Ogg files.
        bitrate: bit/s that Vorbis or Opus aims at; None for the usual quality.
    """

    def __init__(
        self,
        file: BinaryIO,
        format: str,
        rate: int,
        channels: int,
        bit_depth: str,
        serial: int,
        bitrate: int | None = None,
    ) -> None:
        self._sink = CallbackFile(file)
        self._serial = serial if format in ("ogg", "opus") else None
        self._order = to_vorbis(channels) if format in ("ogg", "opus") else None
        options = {"subtype": f"PCM_{bit_depth}"} | _OPTIONS[format]
        if bitrate is not None:
            options["compression_level"] = _compression(format, bitrate / channels)
        try:
            self._sound = soundfile.SoundFile(self._sink, "w", rate, channels, **options)
        finally:
            self._check_or_abandon()

    def write(self, samples: np.ndarray) -> None:
        """Append samples (n, channels) as `encodable` makes them."""
        samples = samples if self._order is None else samples[:, self._order]
        for start in range(0, len(samples), _WRITE_FRAMES):
            try:
                self._sound.write(samples[start : start + _WRITE_FRAMES])
            finally:
                self._sink.check()

    def finish(self) -> None:
        """Write the samples that the codec still holds, and complete the header."""
        try:
            self._sound.close()
        finally:
            self._sink.check()
        if self._serial is not None:
            set_serial(self._sink.file, self._serial)

    def abandon(self) -> None:
        """Free the codec without writing anything more."""
        self._sink.abandoned = True
        self._sound.close()

    def _check_or_abandon(self) -> None:
        try:
            self._sink.check()
        except BaseException:
            self._sink.abandoned = True  # the codec will be freed after the file is closed, and must not write then
            raise


def _compression(format: str, per_channel: float) -> float:
    """Return the compression level by which libsndfile comes to so many bit/s per channel."""
    if format == "ogg":
        return 1 - vorbis_quality(per_channel)
    lowest, highest = OPUS_PER_CHANNEL
    return 1 - (per_channel - lowest) / (highest - lowest)
