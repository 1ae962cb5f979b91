"""Decoding through PyAV (FFmpeg inside the wheel): m4a, aac, mp4, webm, wma and MP3.

MP3 is decoded here too. libsndfile takes an MP3's length from its first frame, or guesses it from that frame. So it
would silently cut off the end of joined files, and of files with a variable bit rate that do not state their length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.audio.callbacks import CallbackFile
from stemsplit.audio.headers import read_mpeg_header
from stemsplit.audio.info import LOSSY, AudioInfo, Warn
from stemsplit.audio.rechunk import Rechunker, rechunked
from stemsplit.errors import DecodeError

# The demuxers that may open a file. Playlists (hls, concat, dash) are not among them: they name other files or URLs.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,avi,flv,mpegts,mpeg,mp3,ogg,flac,wav,w64,aiff,caf,au,ac3,eac3,dts,"
    "ape,wv,tta,tak,mpc,mpc8,amr,dsf,truehd,mlp,rm,loas"
)
_LOSSLESS = ("alac", "flac", "wavpack", "ape", "tta", "tak", "mlp", "truehd", "pcm_", "wmalossless", "dsd_")
_SAMPLES: dict[str, tuple[float, float]] = {  # FFmpeg sample format → (offset, scale) that bring it to ±1
    "u8": (128.0, 2.0**7), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31),
    "flt": (0.0, 1.0), "dbl": (0.0, 1.0),
}  # fmt: skip
_MISSING_SECONDS = 0.5  # a file that ends this much earlier than its headers state counts as cut off
_SLACK = 4096  # samples: more than any encoder pads with


def probe(path: Path) -> AudioInfo:
    """Return what is known about the best sound track of a file.

    Raises:
        DecodeError: there is no sound track, or no decoder for the file.
    """
    with _opened(path) as (container, stream):
        codec = stream.codec_context
        rate, channels = int(codec.sample_rate or 0), len(codec.layout.channels) if codec.layout else 0
        if rate < 1 or channels < 1:
            raise DecodeError(f"{path}: its sound track ({codec.name}) states no sample rate or channels")
        name = container.format.name
        frames = _mpeg_samples(path) if name == "mp3" else _gapless_samples(container)
        return AudioInfo(path, rate, channels, frames, name, codec.name, _bit_depth(codec), decoder="ffmpeg")


def blocks(info: AudioInfo, block_samples: int, warn: Warn | None = None) -> Iterator[np.ndarray]:
    """Yield float32 (channels, n), n ≤ block_samples.

    Samples that the encoder added at the start (delay) or at the end (padding) are removed, if the file states them.
    """
    with _opened(info.path) as (container, stream):
        track = _Track(info, container, stream, warn)
        for block in rechunked(_ended(track), block_samples):
            yield np.ascontiguousarray(block)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    import av

    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    # Before 19, PyAV refuses a whole file for one tag that is not UTF-8.
    lenient: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    with path.open("rb") as file:
        source = CallbackFile(file)
        try:
            with av.open(source, "r", options=options, **lenient) as container:
                yield container, _best_track(path, container)
        except DecodeError:
            source.check()
            raise
        except av.error.FFmpegError as error:
            source.check()
            raise DecodeError(f"{path}: not audio, damaged, or of an unknown format") from error
        source.check()


def _best_track(path: Path, container: Any) -> Any:
    if not container.streams.audio:
        raise DecodeError(f"{path}: no sound track in it")
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not known:
        raise DecodeError(f"{path}: no decoder for its sound track")
    best = container.streams.best("audio")
    return best if best in known else known[0]


class _Track:
    """One pass over the packets of a sound track. What `samples` returns is final once `frames` has ended."""

    def __init__(self, info: AudioInfo, container: Any, stream: Any, warn: Warn | None) -> None:
        self.info, self.slack, self.warn = info, _SLACK, warn
        self._container, self._stream = container, stream
        self._mp4 = container.format.name.startswith("mov")
        self._end = 0  # end of the last packet, in the stream's time base, counted from the end of the delay
        self._packets = self._damaged = 0

    def frames(self) -> Iterator[np.ndarray]:
        """Yield each codec frame as float32 (channels, n).

        A damaged packet of a lossy codec becomes silence. If more than a few are damaged, that is a DecodeError.
        """
        for packet in self._container.demux(self._stream):
            self._packets += 1
            if packet.pts is not None and packet.duration:
                self._end = max(self._end, packet.pts + packet.duration)
            yield from self._decode(packet)
        if self._damaged and self.warn is not None:
            self.warn(f"{self.info.path.name}: {self._damaged} damaged packets were read as silence")

    def samples(self) -> int | None:
        """Return how many samples the track has, or None if the container does not state it."""
        if self.info.frames is not None:
            return self.info.frames
        return _mp4_samples(self._stream, self._end) if self._mp4 else None

    def _decode(self, packet: Any) -> Iterator[np.ndarray]:
        import av

        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            self._damaged += 1
            if self.info.bit_depth != LOSSY or self._damaged > 3 + self._packets // 100:
                raise DecodeError(f"{self.info.path}: not audio, or damaged beyond use") from error
            yield self._silence(packet)
            return
        for frame in frames:
            yield _planar(self.info, frame)

    def _silence(self, packet: Any) -> np.ndarray:
        seconds = (packet.duration or 0) * (self._stream.time_base or 0)
        samples = round(min(seconds, 1) * self.info.sample_rate)  # a damaged packet may claim to last for hours
        return np.zeros((self.info.channels, samples), dtype=np.float32)


def _ended(track: _Track) -> Iterator[np.ndarray]:
    """Yield the frames of a track up to its true end.

    The last frames are held back until all packets are read, since only then is it known how much of them is padding.
    """
    source, total = Rechunker(track.frames()), 0
    for block in source.all_but(track.slack):
        total += block.shape[1]
        yield block
    tail = source.take(track.slack)
    held = 0 if tail is None else tail.shape[1]
    surplus = _surplus(track, total + held)
    if tail is not None:
        yield tail[:, : max(0, held - surplus)]
    if surplus < 0:
        yield np.zeros((track.info.channels, -surplus), dtype=np.float32)


def _surplus(track: _Track, total: int) -> int:
    """Return how many of the decoded samples are the encoder's padding.

    A negative number says how many samples are missing at the end.
    """
    info, samples = track.info, track.samples()
    if samples is None:
        return 0
    if samples - total > _MISSING_SECONDS * info.sample_rate:
        raise DecodeError(f"{info.path}: cut off: {total} of {samples} samples are there")
    if 0 <= total - samples < track.slack:
        return total - samples
    if total > samples:
        said = f"{info.path.name} is longer than it says ({total} samples, not {samples}): read to its end"
    else:
        said = f"{info.path.name}: {samples - total} samples are missing; silence stands at its end"
    if track.warn is not None and (total > samples or info.frames is not None):
        track.warn(said)
    return total - samples if total < samples and info.frames is not None else 0


def _planar(info: AudioInfo, frame: Any) -> np.ndarray:
    """Return the samples of one FFmpeg frame as float32 (channels, n)."""
    channels = len(frame.layout.channels)
    if channels != info.channels or frame.sample_rate != info.sample_rate:
        then, now = f"{info.sample_rate} Hz × {info.channels}", f"{frame.sample_rate} Hz × {channels}"
        raise DecodeError(f"{info.path}: changes its rate or channels on the way ({then} to {now})")
    kind = frame.format.name.rstrip("p")
    if kind not in _SAMPLES:
        raise DecodeError(f"{info.path}: {kind} samples cannot be read")
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    offset, scale = _SAMPLES[kind]
    if data.dtype != np.float32:
        data = (data.astype(np.float64) - offset) / scale
    with np.errstate(over="ignore"):  # a double too large for float32 becomes infinite; `read.blocks` reports that
        return np.ascontiguousarray(data, dtype=np.float32)


def _bit_depth(codec: Any) -> str:
    if not codec.name.startswith(_LOSSLESS):
        return LOSSY
    name = codec.format.name.rstrip("p") if codec.format else "s16"
    return {"u8": "16", "s16": "16", "s32": "24"}.get(name, "32f")


def _mpeg_samples(path: Path) -> int | None:
    header = read_mpeg_header(path)
    return header.samples if header else None


def _gapless_samples(container: Any) -> int | None:
    """Return the length that Apple's ``iTunSMPB`` comment states: "0 delay padding samples …" in hexadecimal."""
    fields = container.metadata.get("iTunSMPB", "").split()
    try:
        return int(fields[3], 16) or None
    except (IndexError, ValueError):
        return None


def _mp4_samples(stream: Any, end: int) -> int | None:
    """Return the length of an MP4 track in samples, or None if it is not stated.

    It is the length in the edit list. Many programs round that to whole milliseconds; then it is the end of the last
    packet.
    """
    unit = stream.time_base * stream.rate
    if not stream.duration or unit > 2:
        return None
    rounded = abs(end - stream.duration) * stream.time_base <= Fraction(1, 900)
    samples: int = round((end if rounded else min(end, stream.duration)) * unit)
    return samples
