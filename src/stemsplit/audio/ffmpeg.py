"""Decoding through PyAV (FFmpeg inside the wheel): m4a, aac, mp4, webm, wma and MP3.

MP3 goes this way too: libsndfile stops at the length that the first frame claims, or that it guesses from
that frame, which silently cuts joined files and files of variable bit rate without the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.audio.info import LOSSY, AudioInfo, Warn
from stemsplit.audio.mpeg import read_mpeg_header
from stemsplit.errors import DecodeError

# Demuxers that may open a file. No playlists (hls, concat, dash): they would read other files or the network.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,avi,flv,mpegts,mpeg,mp3,ogg,flac,wav,w64,aiff,caf,au,ac3,eac3,dts,"
    "ape,wv,tta,tak,mpc,mpc8,amr,dsf,truehd,mlp,rm,loas"
)
_LOSSLESS = ("alac", "flac", "wavpack", "ape", "tta", "tak", "mlp", "truehd", "pcm_", "wmalossless", "dsd_")
_SAMPLES: dict[str, tuple[float, float]] = {  # FFmpeg sample format → (offset, scale) that bring it to ±1
    "u8": (128.0, 2.0**7), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31), "s64": (0.0, 2.0**63),
    "flt": (0.0, 1.0), "dbl": (0.0, 1.0),
}  # fmt: skip
_MISSING_SECONDS = 0.5  # a file that ends this much before its own table of contents was cut off


def probe(path: Path) -> AudioInfo:
    """The best sound track of a file. Raises DecodeError when it has none, or nothing understands it."""
    with _opened(path) as (container, stream):
        codec = stream.codec_context
        rate, channels = int(codec.sample_rate or 0), len(codec.layout.channels) if codec.layout else 0
        if rate < 1 or channels < 1:
            raise DecodeError(f"{path}: its sound track ({codec.name}) states no sample rate or channels")
        name = container.format.name
        frames = _mpeg_samples(path) if name == "mp3" else _gapless_samples(container)
        return AudioInfo(path, rate, channels, frames, name, codec.name, _bit_depth(codec), decoder="ffmpeg")


def blocks(info: AudioInfo, block_samples: int, warn: Warn | None = None) -> Iterator[np.ndarray]:
    """Yield float32 (channels, n), n ≤ block_samples, without encoder delay and padding where they are
    stated."""
    with _opened(info.path) as (container, stream):
        mpeg = read_mpeg_header(info.path) if container.format.name == "mp3" else None
        end = _End(info.path, info.frames, 2 * mpeg.frame_samples if mpeg else 4096, warn)
        decoded = _decoded(info, container, stream, end)
        yield from _regroup(end.cut(decoded), block_samples)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    import av

    with path.open("rb") as file:
        try:
            options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
            with av.open(_Nameless(file), "r", options=options) as container:
                if not container.streams.audio:
                    raise DecodeError(f"{path}: no sound track in it")
                yield container, container.streams.best("audio") or container.streams.audio[0]
        except av.error.FFmpegError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise DecodeError(f"{path}: not audio, damaged, or of an unknown format ({reason})") from error


class _Nameless:
    """A file without its name: content decides what it is, and FFmpeg cannot take the name for a URL."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class _End:
    """Where the audio ends: the last samples wait until the container has told how many belong to it."""

    def __init__(self, path: Path, samples: int | None, slack: int, warn: Warn | None) -> None:
        self.path, self.stated, self.slack, self.warn = path, samples, slack, warn
        self.track: Callable[[], int | None] = lambda: None

    def cut(self, decoded: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        held: list[np.ndarray] = []
        waiting = total = 0
        for block in decoded:
            held.append(block)
            waiting, total = waiting + block.shape[1], total + block.shape[1]
            while held and waiting - held[0].shape[1] >= self.slack:
                waiting -= held[0].shape[1]
                yield held.pop(0)
        surplus = self._surplus(total)
        if held:
            tail = np.concatenate(held, axis=1)
            yield tail[:, : tail.shape[1] - surplus]

    def _surplus(self, total: int) -> int:
        samples = self.stated if self.stated is not None else self.track()
        if samples is None or total <= samples:
            return 0
        if total - samples < self.slack:
            return total - samples
        if self.warn is not None:
            self.warn(
                f"{self.path.name} is longer than it says ({total} samples, not {samples}): read to its end"
            )
        return 0


def _decoded(info: AudioInfo, container: Any, stream: Any, end: _End) -> Iterator[np.ndarray]:
    last = 0  # end of the last packet, in samples after the encoder's delay

    def track_samples() -> int | None:
        return _track_samples(stream, last) if container.format.name.startswith("mov") else None

    end.track = track_samples
    total = 0
    for packet in container.demux(stream):
        if packet.pts is not None and packet.duration:
            last = max(last, packet.pts + packet.duration)
        for frame in packet.decode():
            block = _planar(info, frame)
            total += block.shape[1]
            yield block
    promised = info.frames if info.frames is not None else _promised(container, stream)
    if promised is not None and promised - total > _MISSING_SECONDS * info.sample_rate:
        raise DecodeError(f"{info.path}: cut off: {total} of {promised} samples are there")


def _planar(info: AudioInfo, frame: Any) -> np.ndarray:
    """One FFmpeg frame as float32 (channels, n)."""
    channels = len(frame.layout.channels)
    if channels != info.channels or frame.sample_rate != info.sample_rate:
        then, now = f"{info.sample_rate} Hz × {info.channels}", f"{frame.sample_rate} Hz × {channels}"
        raise DecodeError(f"{info.path}: changes its rate or channels on the way ({then} to {now})")
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    offset, scale = _SAMPLES[frame.format.name.rstrip("p")]
    if data.dtype != np.float32:
        data = (data.astype(np.float64) - offset) / scale
    return np.ascontiguousarray(data, dtype=np.float32)


def _regroup(blocks: Iterator[np.ndarray], block_samples: int) -> Iterator[np.ndarray]:
    """Codec frames of about a thousand samples → blocks of ``block_samples``, the last one shorter."""
    held: list[np.ndarray] = []
    waiting = 0
    for block in blocks:
        held.append(block)
        waiting += block.shape[1]
        if waiting >= block_samples:
            joined = np.concatenate(held, axis=1)
            whole = waiting - waiting % block_samples
            for start in range(0, whole, block_samples):
                yield np.ascontiguousarray(joined[:, start : start + block_samples])
            held, waiting = [joined[:, whole:]], waiting - whole
    if waiting:
        yield np.concatenate(held, axis=1)


def _bit_depth(codec: Any) -> str:
    if not codec.name.startswith(_LOSSLESS):
        return LOSSY
    name = codec.format.name.rstrip("p") if codec.format else "s16"
    return {"u8": "16", "s16": "16", "s32": "24"}.get(name, "32f")


def _mpeg_samples(path: Path) -> int | None:
    header = read_mpeg_header(path)
    return header.samples if header else None


def _gapless_samples(container: Any) -> int | None:
    """The exact length in Apple's ``iTunSMPB`` comment: "0 delay padding samples …" in hexadecimal."""
    fields = container.metadata.get("iTunSMPB", "").split()
    try:
        return int(fields[3], 16) or None
    except (IndexError, ValueError):
        return None


def _promised(container: Any, stream: Any) -> int | None:
    if container.format.name.startswith("mov") and stream.duration:
        return int(stream.duration * stream.time_base * stream.rate)
    return None


def _track_samples(stream: Any, last: int) -> int | None:
    """Samples in an MP4 track: its edit list says, but often in whole milliseconds; then the last packet
    does."""
    if stream.time_base != Fraction(1, stream.rate) or not stream.duration:
        return None
    return last if abs(last - stream.duration) <= stream.rate // 1000 + 1 else min(last, stream.duration)
