"""Encoding through PyAV (FFmpeg inside the wheel): MP3 by LAME, and AAC and ALAC in an MP4.

A decoder gives exactly the samples back that were written. What an encoder adds at the start and at the end is stated:
by LAME's header in an MP3, and by the edit list in an MP4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stemsplit.audio.containers.callbacks import CallbackFile
from stemsplit.audio.containers.mpeg import set_samples
from stemsplit.audio.containers.speakers import LAYOUT_NAMES

if TYPE_CHECKING:
    from stemsplit.audio.encoding.picture import Picture

CODECS = {"mp3": "libmp3lame", "m4a": "aac", "alac": "alac"}
"""Format → what FFmpeg calls its encoder."""
_MUXERS = {"mp3": "mp3", "m4a": "ipod", "alac": "ipod"}
_FRAMES = 16384  # samples that are handed over at once
_PLANES = 8  # from so many channels on, PyAV fills no planar frame
_AMPLE_BITS = 2.5
"""Bits per sample from which on LAME's quality 7 is no worse than 3, in 60 % of the time."""


class FfmpegEncoder:
    """An encoder of one stem, or several as sound tracks of their own, to an open and seekable file.

    Errors of the file are raised as they are, those of FFmpeg as av.error.FFmpegError.

    Args:
        file: where to write.
        format: a key of `CODECS`.
        rate: Hz.
        channels: how many.
        bit_depth: one that the format has.
        bitrate: bit/s, of a lossy format.
        tracks: how many; all but the first are switched off, so that a player plays that one.
        picture: a video whose picture is copied, and which of its sound tracks this one takes the place of.
    """

    def __init__(
        self, file: BinaryIO, format: str, rate: int, channels: int, bit_depth: str, *,
        bitrate: int | None, tracks: int = 1, picture: tuple[Path, int | None] | None = None,
    ) -> None:  # fmt: skip
        import av

        self._sink, self._rate, self._frames = CallbackFile(file), rate, [0] * tracks
        self._layout = LAYOUT_NAMES[channels]
        self._kind = {"16": "s16p", "24": "s32p"}.get(bit_depth, "fltp")
        muxer = _MUXERS[format] if picture is None else "mp4"
        with self._checked():
            self._container: Any = av.open(self._sink, "w", format=muxer, options=_muxing(format, rate))
            options = _lame(bitrate, rate, channels) if format == "mp3" else {}
            self._streams = [self._stream(CODECS[format], bitrate, options) for _ in range(tracks)]
            self._streams[0].disposition = av.stream.Disposition.default
            self._picture = None if picture is None else self._copied(*picture)

    def _stream(self, codec: str, bitrate: int | None, options: dict[str, str]) -> Any:
        stream: Any = self._container.add_stream(codec, rate=self._rate, layout=self._layout, options=options)
        stream.codec_context.format = self._kind
        if bitrate is not None:
            stream.bit_rate = bitrate
        return stream

    def _copied(self, path: Path, track: int | None) -> Picture:
        from stemsplit.audio.encoding.picture import Picture  # few runs want it

        picture = Picture(path, self._container, track)
        self._frames[0] = round(picture.late * self._rate)  # the sound begins where the other did
        return picture

    def write(self, samples: np.ndarray, track: int = 0) -> None:
        """Append samples (n, channels) as `encodable` makes them to a track."""
        for start in range(0, len(samples), _FRAMES):
            self._mux(self._framed(samples[start : start + _FRAMES], track), track)
            if self._picture is not None:
                with self._checked():
                    self._picture.copy(self._frames[0] / self._rate)

    def finish(self) -> None:
        """Write the samples that the codec still holds, and the tables of the container."""
        for track in range(len(self._streams)):
            self._mux(None, track)
        with self._checked():
            if self._picture is not None:
                self._picture.copy(math.inf)
                self._picture.close()
            self._container.close()
        if self._container.format.name == "mp3":
            set_samples(self._sink.file, self._frames[0])

    def abandon(self) -> None:
        """Free the codec without writing anything more."""
        import av

        self._sink.abandoned = True
        with suppress(av.error.FFmpegError):
            if self._picture is not None:
                self._picture.close()
            self._container.close()

    def _framed(self, samples: np.ndarray, track: int) -> Any:
        """Return samples (n, channels) as a frame of FFmpeg."""
        import av

        if samples.shape[1] < _PLANES:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format=self._kind, layout=self._layout)
            frame.sample_rate = self._rate
        else:
            packed = av.AudioFrame.from_ndarray(
                samples.reshape(1, -1), format=self._kind.removesuffix("p"), layout=self._layout
            )
            packed.sample_rate = self._rate
            (frame,) = av.AudioResampler(self._kind, self._layout, self._rate).resample(packed)
        frame.pts = self._frames[track]
        self._frames[track] += len(samples)
        return frame

    def _mux(self, frame: Any, track: int) -> None:
        with self._checked():
            for packet in self._streams[track].encode(frame):
                self._container.mux(packet)

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Raise what a callback met rather than what FFmpeg makes of it."""
        try:
            yield
        except BaseException:
            self._sink.abandoned = True  # nothing more is written, whenever the container is closed
            self._sink.check()
            raise
        try:
            self._sink.check()
        except BaseException:
            self._sink.abandoned = True
            raise


def _muxing(format: str, rate: int) -> dict[str, str]:
    """Nothing in a file says when, or by which version, it was made. The edit list of an MP4 counts samples."""
    own = {"id3v2_version": "0"} if format == "mp3" else {"movie_timescale": str(rate)}
    return {"fflags": "+bitexact", **own}


def _lame(bitrate: int | None, rate: int, channels: int) -> dict[str, str]:
    ample = (bitrate or 0) / (rate * channels) >= _AMPLE_BITS
    return {"compression_level": "7" if ample else "3"}
