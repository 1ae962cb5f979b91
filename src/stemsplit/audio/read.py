"""Audio files → float32 blocks, in bounded memory and with exactly the length that a file has.

What a header states is compared with what is there, both ways. libsndfile reads what it can. Where it refuses a file,
or stops before the end, FFmpeg is asked too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from stemsplit.audio import ffmpeg, sndfile
from stemsplit.audio.containers import boxes
from stemsplit.audio.containers.chunks import Chunked, read_chunks
from stemsplit.audio.containers.flac import FlacLength, flac_parts, read_flac_length
from stemsplit.audio.containers.mpeg import read_mpeg_header
from stemsplit.audio.containers.ogg import read_ogg_pages
from stemsplit.audio.containers.speakers import fit_channels
from stemsplit.audio.containers.tags import sound_start
from stemsplit.audio.containers.transport import ends_inside
from stemsplit.audio.containers.view import View
from stemsplit.audio.findings import Findings
from stemsplit.audio.info import LOSSY, AudioInfo, Part, Warn, level_problem
from stemsplit.audio.rechunk import Rechunker, rechunked, trimmed
from stemsplit.audio.resample import resample
from stemsplit.errors import DamagedError, DecodeError, EmptyAudioError, MissingFileError, reason
from stemsplit.options import TimeRange

BLOCK_SAMPLES = 65536
_BLOCK_VALUES = 1 << 22  # at most 16 MiB in a block: with hundreds of channels blocks get shorter
_HEADER_BYTES = 4096  # a file with more bytes than this holds samples, whatever its header states
_SLOPPY_BYTES = 4096  # may follow a film
_MOST_PARTS = 4096
_COMPARED = 4096  # samples that two decoders must agree on before the second one goes on
_AGREEMENT = 0.02  # the largest difference between two decoders of one lossy codec


def probe(
    path: Path, *, track: int | None = None, salvage: bool = False, time_range: TimeRange | None = None
) -> AudioInfo:
    """Read the header of a file.

    Args:
        path: the file.
        track: which of several sound tracks, from 1; by default the one that the file marks, or else the first.
        salvage: read what is there of a file of which a part is missing.
        time_range: read only this part of it.

    Raises:
        DecodeError: the file is missing, not a regular file, unreadable, damaged, cut off, or not audio.
        EmptyAudioError: the file has no bytes, or its header states that it has no samples, or none in that part.
        UsageError: there is no such track.
    """
    path, notes = Path(path), list[str]()
    findings = Findings(path, salvage, notes.append)
    try:
        _require_file(path)
        info = _identify(path, track, findings)
    except MissingFileError:
        raise
    except OSError as error:
        raise DecodeError(f"{path}: {reason(error)}") from error
    if info.frames == 0:
        raise EmptyAudioError(f"{path}: no samples in it")
    info = replace(info, salvage=salvage, notes=tuple(notes))
    return info if time_range is None else _cut(info, time_range)


def _cut(info: AudioInfo, wanted: TimeRange) -> AudioInfo:
    """Return a file of which only a part is read. Raises: EmptyAudioError."""
    start = round(wanted.start * info.sample_rate)
    stop = None if wanted.end is None else round(wanted.end * info.sample_rate)
    if info.frames is not None:
        if start >= info.frames:
            raise EmptyAudioError(_beyond(info, info.frames))
        if stop is not None and stop > info.frames:
            lasts = info.frames / info.sample_rate
            note = f"{info.path.name}: it ends at {lasts:.2f} s, before the range does: read to its end"
            info, stop = replace(info, notes=(*info.notes, note)), None
    last = info.frames if stop is None else stop
    return replace(info, frames=None if last is None else last - start, part=Part(start, stop, info.frames))


def _beyond(info: AudioInfo, frames: int) -> str:
    return f"{info.path}: nothing is in that range: the file lasts {frames / info.sample_rate:.2f} s"


def blocks(
    source: Path | AudioInfo, block_samples: int = BLOCK_SAMPLES, *, warn: Warn | None = None
) -> Iterator[np.ndarray]:
    """Decode a whole file.

    Integers are scaled to ±1 exactly. Floats beyond ±1 are kept. NaN and infinity become 0. The channels are in the
    order of WAV.

    Args:
        source: a path, or what `probe` returned.
        block_samples: the most samples per channel in a block.
        warn: called with one sentence about each kind of problem that was corrected.

    Yields:
        float32 (channels, n), 1 ≤ n ≤ block_samples. They may be more than ``AudioInfo.frames`` in all, if the file
        holds more than it states; with `salvage` they may be fewer.

    Raises:
        DecodeError: as `probe`; also if the file ends early or cannot be decoded from some point on, or holds samples
            that are no sound.
        EmptyAudioError: the decoder found no samples.
    """
    info = source if isinstance(source, AudioInfo) else probe(source)
    if info.part is not None:
        yield from _part_of(info, info.part, block_samples, warn)
        return
    block_samples = max(1, min(block_samples, _BLOCK_VALUES // info.channels))
    for note in info.notes if warn is not None else ():
        warn(note)  # type: ignore[misc]
    findings = Findings(info.path, info.salvage, warn)
    total = broken = 0
    try:
        for block in _decode_all(info, block_samples, findings):
            total += block.shape[1]
            broken += _silence_non_finite(block)
            if problem := level_problem(block):
                raise DecodeError(f"{info.path}: {problem}")
            yield block
    except OSError as error:
        raise DecodeError(f"{info.path}: {reason(error)}") from error
    if total == 0:
        raise EmptyAudioError(f"{info.path}: no samples in it")
    if broken:
        findings.note(f"{broken} samples were NaN or infinite and were read as silence")


def _part_of(info: AudioInfo, part: Part, block_samples: int, warn: Warn | None) -> Iterator[np.ndarray]:
    """Yield a part of a file, to the sample. What is before it is decoded as well, what is behind it is not."""
    counted = 0

    def count(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal counted
        for block in blocks:
            counted += block.shape[1]
            yield block

    with closing(blocks(replace(info, part=None, frames=part.frames), block_samples, warn=warn)) as whole:  # type: ignore[type-var]
        yield from trimmed(count(whole), part.start, part.stop)
    if counted <= part.start:
        raise EmptyAudioError(_beyond(info, counted))
    if part.stop is not None and counted < part.stop and warn is not None:
        warn(f"{info.path.name}: it ends at {counted / info.sample_rate:.2f} s, before the range does: read to its end")


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise DecodeError(f"{path}: is a folder, not an audio file")
    if not path.exists():
        raise MissingFileError(f"{path}: no such file")
    if not path.is_file():
        raise DecodeError(f"{path}: is a pipe or device; give it on standard input instead of its name: -")
    if path.stat().st_size == 0:
        raise EmptyAudioError(f"{path}: the file is empty (0 bytes)")


# --- Which decoder reads the file, and what its headers state.


def _identify(path: Path, track: int | None, findings: Findings) -> AudioInfo:
    if (chunked := read_chunks(path)) is not None:
        return _identify_chunked(path, chunked, track, findings)
    if read_mpeg_header(path) is not None:
        return ffmpeg.probe(path, findings, view=_behind_tags(path), track=track)
    if (flac := read_flac_length(path)) is not None:
        return _identify_flac(path, flac, findings)
    if _begins_with(path, b"OggS"):
        return _identify_ogg(path, track, findings)
    if missing := boxes.missing_bytes(path):
        findings.refuse(f"cut off: the last {missing} bytes are missing")
    if (strange := boxes.strange_bytes(path)) > _SLOPPY_BYTES:
        findings.refuse(f"damaged: {strange} bytes of it are no fragments of a film")
    if ends_inside(path):
        findings.note("ends in the middle of a packet: it may have been cut off")
    return _either(path, _behind_tags(path), track, findings)


def _identify_chunked(path: Path, chunked: Chunked, track: int | None, findings: Findings) -> AudioInfo:
    if chunked.missing:
        findings.refuse(f"cut off: the last {chunked.missing} bytes are missing")
    if chunked.surplus:
        findings.note(f"holds {chunked.surplus} more bytes of samples than its header states: read to its end")
    if chunked.large:
        return ffmpeg.probe(path, findings, view=chunked.view, track=track)
    info, parts = _either(path, chunked.view, track, findings), list[View]()
    while chunked.following is not None and (after := read_chunks(path, chunked.following)) is not None:
        if after.missing:
            findings.refuse(f"cut off: the last {after.missing} bytes are missing")
        parts.append(after.view)
        _require_few(path, parts)
        chunked = after
    return _joined(info, parts)


def _identify_ogg(path: Path, track: int | None, findings: Findings) -> AudioInfo:
    """Look through the pages of an Ogg file, and choose its decoder. Streams that follow one another are parts."""
    pages = read_ogg_pages(path)
    if not pages.whole:
        findings.refuse("damaged or cut off: not all of its Ogg pages are whole")
        return ffmpeg.probe(path, findings, track=track)
    if not pages.ended:
        findings.note("ends without the mark of an end: it may have been cut off")
    _require_few(path, pages.links)
    views = [View(start, end) for start, end in zip(pages.links, [*pages.links[1:], None], strict=True)]
    if pages.streams > 1 or ffmpeg.starts_early(path, views[0]):
        info = ffmpeg.probe(path, findings, view=views[0], track=track)
    else:
        info = _either(path, views[0], track, findings)
    return _joined(info, views[1:])


def _require_few(path: Path, parts: Sequence[object]) -> None:
    if len(parts) > _MOST_PARTS:
        raise DecodeError(f"{path}: more than {_MOST_PARTS} files were joined in it: split it")


def _joined(info: AudioInfo, parts: Sequence[View]) -> AudioInfo:
    """Return a file that goes on with more parts. How long it is shows when they are read."""
    return replace(info, frames=None, parts=tuple(parts)) if parts else info


def _either(path: Path, view: View, track: int | None, findings: Findings) -> AudioInfo:
    """Ask libsndfile, and FFmpeg if that does not know the file, or may not read all of it."""
    refusal: DecodeError | None = None
    try:
        info = sndfile.probe(path, view)
    except DecodeError as error:
        info, refusal = None, error
    if info is not None and track is None and not _is_for_ffmpeg(info):
        return info
    try:
        other = ffmpeg.probe(path, findings, view=view, track=track)
    except DecodeError as error:
        if info is not None and info.frames:
            return info
        raise refusal or error from error
    if info is not None and info.bit_depth != LOSSY and info.frames:
        return replace(other, frames=info.frames, bit_depth=info.bit_depth)
    return other


def _is_for_ffmpeg(info: AudioInfo) -> bool:
    """Return whether libsndfile might lose a part of a file that it knows, or swap its channels."""
    if info.frames is None or (info.frames == 0 and _holds_samples(info)):
        return True
    if info.container == "MP3" or info.subtype.startswith("MPEG"):  # the length of an MP3 is guessed
        return True
    return info.container in ("CAF", "AIFF") and info.channels > 2  # only FFmpeg tells which speakers these name


def _holds_samples(info: AudioInfo) -> bool:
    """Return whether there must be samples: a recorder that crashed leaves a header that states none."""
    return info.path.stat().st_size > _HEADER_BYTES


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(sound_start(file))
        return file.read(len(mark)) == mark


def _behind_tags(path: Path) -> View:
    with path.open("rb") as file:
        return View(sound_start(file))


def _identify_flac(path: Path, length: FlacLength, findings: Findings) -> AudioInfo:
    """Choose the decoder of a FLAC file. libsndfile trusts the header's length, and wants frames of one size."""
    view, *parts = flac_parts(path)
    _require_few(path, parts)
    if parts:
        return _joined(ffmpeg.probe(path, findings, view=view), parts)
    if not length.variable and length.stated and length.found in (None, length.stated):
        return _either(path, view, None, findings)
    info = ffmpeg.probe(path, findings, view=view)
    if length.stated and length.found is not None and length.found != length.stated:
        findings.note(f"its header states {length.stated} samples, its frames are {length.found}: these are read")
    return replace(info, container="FLAC", frames=length.found or length.stated or None)


# --- Parts, one after the other.


def _decode_all(info: AudioInfo, block_samples: int, findings: Findings) -> Iterator[np.ndarray]:
    """Yield the blocks of all parts of a file, in the form of the first one."""
    yield from _decode(info, block_samples, findings)
    for view in info.parts:
        part = _either(info.path, view, None, findings)
        form, wanted = (part.sample_rate, part.channels), (info.sample_rate, info.channels)
        if form != wanted:
            before, now = (f"{rate} Hz × {channels}" for rate, channels in (wanted, form))
            findings.note(f"changes from {before} to {now} on the way: all of it is read as {before}")
        fitted = (fit_channels(block, info.channels) for block in _decode(part, block_samples, findings))
        yield from rechunked(resample(fitted, part.sample_rate, info.sample_rate, info.channels), block_samples)


# --- The second opinion.


def _decode(info: AudioInfo, block_samples: int, findings: Findings) -> Iterator[np.ndarray]:
    if info.decoder == "ffmpeg":
        yield from ffmpeg.blocks(info, block_samples, findings)
        return
    total, last = 0, np.zeros((info.channels, 0), dtype=np.float32)
    try:
        for block in sndfile.blocks(info, block_samples):
            total += block.shape[1]
            last = np.concatenate([last, block], axis=1)[:, -_COMPARED:].copy()
            yield block
    except DamagedError as error:
        yield from _second_opinion(info, block_samples, findings, total, last, error)


def _second_opinion(
    info: AudioInfo, block_samples: int, findings: Findings, total: int, last: np.ndarray, fault: DamagedError
) -> Iterator[np.ndarray]:
    """Yield what FFmpeg finds behind the place where libsndfile stopped. Raises: `fault` if it finds nothing sound.

    Args:
        info: the file.
        block_samples: the most samples per channel in a block.
        findings: told about it.
        total: how many samples libsndfile found.
        last: the last of them, (channels, n); FFmpeg's must be equal.
        fault: why libsndfile stopped.
    """
    text = str(fault).removeprefix(f"{info.path}: ")
    try:
        other = ffmpeg.probe(info.path, findings, view=info.view, track=info.track)
        source = Rechunker(ffmpeg.blocks(replace(other, frames=None), block_samples, findings))
        if (other.sample_rate, other.channels) != (info.sample_rate, info.channels):
            raise fault
        left = total - last.shape[1]
        while left > 0 and (some := source.take(min(left, block_samples))) is not None and some.shape[1]:
            left -= some.shape[1]
        same = source.take(last.shape[1]) if total else last
        if left or same is None or same.shape != last.shape:
            raise fault
        if total and np.abs(same - last).max() > _AGREEMENT:
            findings.refuse(text, fault)
        while (block := source.take(block_samples)) is not None and block.shape[1]:
            total += block.shape[1]
            yield block
    except DecodeError as error:
        findings.refuse(text, error)
        return
    if info.frames is not None and total < info.frames:
        findings.refuse(f"damaged or cut off: {total} of {info.frames} samples are there")
    findings.note(f"libsndfile stopped in it ({text}); FFmpeg read it to its end")


def _silence_non_finite(block: np.ndarray) -> int:
    """Replace NaN and ±inf by 0 in place, and return how many there were."""
    finite = np.isfinite(block)
    if finite.all():
        return 0
    block[~finite] = 0.0
    return int(block.size - np.count_nonzero(finite))
