"""Decoding through PyAV (FFmpeg inside the wheel): m4a, aac, mp4, webm, wma and MP3, and what libsndfile refuses.

MP3 is decoded here too. libsndfile takes an MP3's length from its first frame, or guesses it from that frame. So it
would silently cut off the end of joined files, and of files with a variable bit rate that do not state their length.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.audio.containers.callbacks import CallbackFile
from stemsplit.audio.containers.mpeg import read_mpeg_header
from stemsplit.audio.containers.tags import hiding_tags, sound_start
from stemsplit.audio.containers.view import WHOLE, View
from stemsplit.audio.findings import Findings
from stemsplit.audio.info import LOSSY, AudioInfo, form_problem
from stemsplit.audio.packets import Pass
from stemsplit.audio.rechunk import Rechunker, rechunked
from stemsplit.audio.tagging.covers import Cover, cover_from
from stemsplit.audio.tagging.names import Fields, fields_of_container
from stemsplit.errors import DecodeError, UsageError

# The demuxers that may open a file. Playlists (hls, concat, dash) are not among them: they name other files or URLs.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,avi,flv,mpegts,mpeg,mp3,ogg,flac,wav,w64,aiff,caf,au,ac3,eac3,dts,"
    "ape,wv,tta,tak,mpc,mpc8,amr,dsf,iff,truehd,mlp,rm,loas"
)
# Those that state no length. What FFmpeg gives as their duration is measured or guessed, as is that of MP3 in a WAV.
_LENGTHLESS = {"mpegts", "mpeg", "mp3", "aac", "ac3", "eac3", "dts", "amr", "truehd", "mlp", "loas"}
_LOSSLESS = ("alac", "flac", "wavpack", "ape", "tta", "tak", "mlp", "truehd", "pcm_", "wmalossless", "dsd_")
_MISSING_SECONDS = 0.5  # a file that ends this much earlier than its headers state counts as cut off
_NOTED_SECONDS = 0.1  # encoders do not agree on the length of their delay
_LONGEST_VORBIS_BLOCK = 8192  # samples; by as much the first packet, which is only a start, may lie before 0
_SLACK = 4096  # samples: more than any encoder pads with
_LARGEST_BLOCK = 1 << 28  # bytes that FFmpeg may allocate at once: tables of three days of packets fit
_LONGEST_FRAME = 1 << 21  # samples


def probe(path: Path, findings: Findings, *, view: View = WHOLE, track: int | None = None) -> AudioInfo:
    """Return what is known about a sound track of a file.

    Args:
        path: the file.
        findings: told which of several tracks it is.
        view: what FFmpeg is to see of the file.
        track: which sound track, from 1; None for the one that the file marks as its default, or else the first.

    Raises:
        DecodeError: there is no sound track, or no decoder for the file; or a rate or channels that no audio has.
        UsageError: there is no such track.
    """
    view = replace(view, patches=(*view.patches, *hiding_tags(path, view.start)))
    with _opened(path, view) as container:
        number = _choose_track(path, container, findings, track)
        stream = _track(path, container, number)
        codec = stream.codec_context
        rate, channels = _first_form(container, stream)
        if rate < 1 or channels < 1:
            raise DecodeError(f"{path}: its sound track ({codec.name}) states no sample rate, or not 1 to 64 channels")
        if problem := form_problem(rate, channels):
            raise DecodeError(f"{path}: {problem}")
        name = container.format.name
        frames = _mpeg_samples(path) if name == "mp3" else _gapless_samples(container)
        depth = _bit_depth(codec)
        return AudioInfo(path, rate, channels, frames, name, codec.name, depth, "ffmpeg", view, track=number)


def starts_early(path: Path, view: View) -> bool:
    """Return whether the sound begins before its clock is at 0, so that libsndfile would leave out its beginning."""
    try:
        with _opened(path, view) as container:
            for stream in container.streams.audio:
                first = next(container.demux(stream))
                return (stream.start_time or 0) < 0 or (first.pts or 0) < -_LONGEST_VORBIS_BLOCK
            return False
    except DecodeError:
        return False


def blocks(info: AudioInfo, block_samples: int, findings: Findings) -> Iterator[np.ndarray]:
    """Yield float32 (channels, n), n ≤ block_samples.

    Samples that the encoder added at the start (delay) or at the end (padding) are removed, if the file states them.

    Raises:
        DecodeError: FFmpeg cannot decode the file.
        DamagedError: a part of the file is missing.
    """
    with _opened(info.path, info.view) as container:
        stream = _track(info.path, container, info.track)
        going = Pass(info, container, stream, findings)
        for block in rechunked(_ended(info, container, stream, going, findings), block_samples):
            yield np.ascontiguousarray(block)


def read_tags(path: Path) -> tuple[Fields, Cover | None]:
    """Return the tags and the cover of a file. Raises: DecodeError; OSError."""
    with path.open("rb") as file:
        view = View(sound_start(file))
    with _opened(path, view, metadata_errors="surrogateescape") as container:
        track: dict[str, str] = next((stream.metadata for stream in container.streams.audio), {})
        return fields_of_container(container.format.name, container.metadata, track), cover_from(_attached(container))


def _attached(container: Any) -> list[tuple[int, bytes]]:
    """Return the pictures that are attached to a file. Each is a stream of one packet, and comes first."""
    streams = [s for s in container.streams.video if s.disposition & type(s.disposition).attached_pic]
    packets = zip(streams, container.demux(streams) if streams else (), strict=False)
    return [(0, bytes(packet)) for _, packet in packets if packet.size]


@contextmanager
def _opened(path: Path, view: View, *, metadata_errors: str = "replace") -> Iterator[Any]:
    """Open what a view shows of a file. `metadata_errors`: what Python makes of tags that are not UTF-8."""
    import av

    _bound_allocations()
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    # Before 19, PyAV refuses a whole file for one tag that is not UTF-8.
    lenient: dict[str, Any] = {"metadata_errors": metadata_errors} if int(av.__version__.split(".")[0]) < 19 else {}
    with view.open(path) as file:
        source = CallbackFile(file)
        try:
            with av.open(source, "r", options=options, **lenient) as container:
                yield container
        except DecodeError:
            source.check()
            raise
        except av.error.FFmpegError as error:
            source.check()
            raise DecodeError(f"{path}: not audio, damaged, or of an unknown format") from error
        source.check()


@cache
def _bound_allocations() -> None:
    """Limit what FFmpeg allocates at once, so that a count in a header costs no gigabytes.

    PyAV has no call for this. Where the function is not found, as on Windows, nothing is limited.
    """
    import av

    with suppress(OSError, AttributeError):
        ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(_LARGEST_BLOCK))


# --- Which track, and its form.


def _choose_track(path: Path, container: Any, findings: Findings, wanted: int | None) -> int | None:
    """Return the number of the track to read, from 1; None if there is only one."""
    streams = container.streams.audio
    if not streams:
        raise DecodeError(f"{path}: no sound track in it")
    if wanted is not None and not 1 <= wanted <= len(streams):
        raise UsageError(f"--audio-track {wanted}: {path} has {len(streams)} sound track{'s' * (len(streams) > 1)}")
    if len(streams) == 1:
        return None
    if wanted is None:
        known = [at for at, stream in enumerate(streams) if stream.codec_context is not None]
        marked = [at for at in known if _is_default(streams[at])]
        wanted = 1 + (marked or known or [0])[0]
        described = ", ".join(f"{at} {_described(stream)}" for at, stream in enumerate(streams, 1))
        findings.note(f"of its sound tracks ({described}) {wanted} is read: --audio-track chooses another")
    return wanted


def _is_default(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).default)


def _described(stream: Any) -> str:
    codec = stream.codec_context
    parts = (stream.metadata.get("title"), stream.language, codec and codec.layout and codec.layout.name)
    return " ".join(part for part in parts if part and part != "und") or "unknown"


def _track(path: Path, container: Any, number: int | None) -> Any:
    stream = container.streams.audio[(number or 1) - 1]
    if stream.codec_context is None:
        raise DecodeError(f"{path}: no decoder for its sound track")
    checked = stream.codec_context.name in ("ac3", "eac3")  # their frames have checksums
    checks = {"err_detect": "crccheck+explode"} if checked else {}
    stream.codec_context.options = {"max_samples": str(_LONGEST_FRAME), **checks}
    return stream


def _first_form(container: Any, stream: Any) -> tuple[int, int]:
    """Return rate and channels of the first frame: joined files may have others later, which FFmpeg may have seen."""
    import av

    codec = stream.codec_context
    form = int(codec.sample_rate or 0), len(codec.layout.channels) if codec.layout else 0
    try:
        for _, packet in zip(range(50), container.demux(stream), strict=False):
            for frame in packet.decode():
                return int(frame.sample_rate), len(frame.layout.channels)
    except av.error.FFmpegError:
        pass
    return form


def _bit_depth(codec: Any) -> str:
    if not codec.name.startswith(_LOSSLESS):
        return LOSSY
    if codec.name.startswith(("pcm_s32", "pcm_u32", "pcm_s64")):
        return "32f"
    name = codec.format.name.rstrip("p") if codec.format else "s16"
    return {"u8": "16", "s16": "16", "s32": "24"}.get(name, "32f")


# --- The length: what the file states, and what is there.


def _ended(info: AudioInfo, container: Any, stream: Any, going: Pass, findings: Findings) -> Iterator[np.ndarray]:
    """Yield the frames of a track up to its true end.

    The last frames are held back until all packets are read, since only then is it known how much of them is padding.
    """
    source, total = Rechunker(going.frames()), 0
    for block in source.all_but(_SLACK):
        total += block.shape[1]
        yield block
    tail = source.take(_SLACK)
    held = 0 if tail is None else tail.shape[1]
    _check_end(info, container, stream, going, findings)
    _check_count(container, stream, going, total + held, findings)
    surplus = _surplus(info, _samples(info, container, stream, going), total + held, findings)
    if tail is not None:
        yield tail[:, : max(0, held - surplus)]
    if surplus < 0:
        yield np.zeros((info.channels, -surplus), dtype=np.float32)


def _check_end(info: AudioInfo, container: Any, stream: Any, going: Pass, findings: Findings) -> None:
    """Refuse a track whose last packet ends earlier than its container states."""
    if info.container in (*_LENGTHLESS, "wav", "w64") or info.frames is not None:
        return
    if stream.duration and info.container != "asf":  # where it is that of the file
        end = float((stream.duration + (stream.start_time or 0)) * stream.time_base)
        found = float(going.end * stream.time_base)
    elif container.duration:
        end, found = (container.duration + max(0, container.start_time or 0)) / 1e6, going.latest
    else:
        return
    text = f"{max(found, 0):.2f} of {end:.2f} s are there"
    if end - found > _MISSING_SECONDS:
        findings.refuse(f"cut off, or damaged: {text}")
    elif end - found > _NOTED_SECONDS:
        findings.note(f"ends early, or has gaps: {text}")


def _check_count(container: Any, stream: Any, going: Pass, total: int, findings: Findings) -> None:
    """Tell if there are fewer packets than the container counts. For PCM some containers count samples."""
    if not container.format.name.startswith(("avi", "mov")):
        return
    counts_packets = stream.frames <= 2 * going.packets
    found, name = (going.packets, "packets") if counts_packets else (total, "samples")
    exact = container.format.name == "avi"  # MP4 has edit lists, which leave out packets
    if found < stream.frames * (1 if exact else 0.99):
        findings.note(f"its header counts {stream.frames} {name}, and {found} are there")


def _samples(info: AudioInfo, container: Any, stream: Any, going: Pass) -> int | None:
    """Return how many samples a track has, or None if the container does not state it exactly."""
    if info.frames is not None:
        return info.frames
    return _mp4_samples(stream, going.end) if container.format.name.startswith("mov") else None


def _surplus(info: AudioInfo, samples: int | None, total: int, findings: Findings) -> int:
    """Return how many of the decoded samples are the encoder's padding.

    A negative number says how many samples are missing at the end.
    """
    about = _mpeg_whole(info) if samples is None else samples
    if about is not None and about - total > _MISSING_SECONDS * info.sample_rate:
        findings.refuse(f"cut off: {total} of {about} samples are there")
        return 0
    if samples is None or total == samples:
        return 0
    if 0 < total - samples < _SLACK:
        return total - samples
    if total > samples:
        findings.note(f"longer than it says ({total} samples, not {samples}): read to its end")
        return 0
    if info.frames is None:
        return 0
    findings.note(f"{samples - total} samples are missing; silence stands at its end")
    return total - samples


def _mpeg_samples(path: Path) -> int | None:
    header = read_mpeg_header(path)
    return header.samples if header else None


def _mpeg_whole(info: AudioInfo) -> int | None:
    header = read_mpeg_header(info.path) if info.container == "mp3" else None
    return header.whole if header else None


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
