"""Audio files → float32 blocks, in bounded memory and with exactly the length that a file states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stemsplit.audio import ffmpeg, sndfile
from stemsplit.audio.headers import missing_bytes, read_mpeg_header, read_ogg_pages
from stemsplit.audio.info import AudioInfo, Warn
from stemsplit.errors import DecodeError, EmptyAudioError, reason

BLOCK_SAMPLES = 65536
_BLOCK_VALUES = 1 << 22  # at most 16 MiB in a block: with hundreds of channels blocks get shorter
_HEADER_BYTES = 4096  # a file with more bytes than this holds samples, whatever its header states
_SLOPPY_BYTES = 64  # some programs count the header as samples, so that few missing bytes are no damage


def probe(path: Path) -> AudioInfo:
    """Read the header of a file.

    Raises:
        DecodeError: the file is missing, not a regular file, unreadable, damaged, cut off, or not audio.
        EmptyAudioError: the file has no bytes, or its header states that it has no samples.
    """
    path = Path(path)
    try:
        _require_file(path)
        info = _identify(path)
    except OSError as error:
        raise DecodeError(f"{path}: {reason(error)}") from error
    if info.frames == 0:
        raise EmptyAudioError(f"{path}: no samples in it")
    return info


def blocks(
    source: Path | AudioInfo, block_samples: int = BLOCK_SAMPLES, *, warn: Warn | None = None
) -> Iterator[np.ndarray]:
    """Decode a whole file.

    Integers are scaled to ±1 exactly. Floats beyond ±1 are kept. NaN and infinity become 0.

    Args:
        source: a path, or what `probe` returned.
        block_samples: the most samples per channel in a block.
        warn: called with one sentence about each kind of problem that was corrected.

    Yields:
        float32 (channels, n), 1 ≤ n ≤ block_samples; in all ``AudioInfo.frames`` samples, if that is known.

    Raises:
        DecodeError: as `probe`; also if the file ends early or cannot be decoded from some point on.
        EmptyAudioError: the decoder found no samples.
    """
    info = source if isinstance(source, AudioInfo) else probe(source)
    block_samples = max(1, min(block_samples, _BLOCK_VALUES // info.channels))
    total = broken = 0
    try:
        for block in _decode(info, block_samples, warn):
            total += block.shape[1]
            broken += _silence_non_finite(block)
            yield block
    except OSError as error:
        raise DecodeError(f"{info.path}: {reason(error)}") from error
    if total == 0:
        raise EmptyAudioError(f"{info.path}: no samples in it")
    if info.frames is not None and total < info.frames:
        raise DecodeError(f"{info.path}: damaged or cut off: {total} of {info.frames} samples are there")
    if broken and warn is not None:
        warn(f"{info.path.name}: {broken} samples were NaN or infinite and were read as silence")


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise DecodeError(f"{path}: is a folder, not an audio file")
    if not path.exists():
        raise DecodeError(f"{path}: no such file")
    if not path.is_file():
        raise DecodeError(f"{path}: is a pipe or device; give it on standard input instead of its name: -")
    if path.stat().st_size == 0:
        raise EmptyAudioError(f"{path}: the file is empty (0 bytes)")


def _identify(path: Path) -> AudioInfo:
    if read_mpeg_header(path) is not None:
        return ffmpeg.probe(path)
    info = sndfile.probe(path)
    if info is None or info.container == "MP3" or info.frames is None or _is_chained(info):
        return ffmpeg.probe(path)
    if info.frames == 0 and path.stat().st_size > _HEADER_BYTES:
        return ffmpeg.probe(path)  # a recorder that crashed leaves samples behind a header that states a length of 0
    if (missing := missing_bytes(path)) > _SLOPPY_BYTES:
        raise DecodeError(f"{path}: cut off: the last {missing} bytes are missing")
    return info


def _is_chained(info: AudioInfo) -> bool:
    """Return whether several Ogg streams follow one another, of which libsndfile would read only the first."""
    if info.container != "OGG":
        return False
    pages = read_ogg_pages(info.path)
    if not pages.whole:
        raise DecodeError(f"{info.path}: damaged or cut off: not all of its Ogg pages are whole")
    return pages.links > 1


def _decode(info: AudioInfo, block_samples: int, warn: Warn | None) -> Iterator[np.ndarray]:
    if info.decoder == "ffmpeg":
        yield from ffmpeg.blocks(info, block_samples, warn)
    else:
        yield from sndfile.blocks(info, block_samples)


def _silence_non_finite(block: np.ndarray) -> int:
    """Replace NaN and ±inf by 0 in place, and return how many there were."""
    finite = np.isfinite(block)
    if finite.all():
        return 0
    block[~finite] = 0.0
    return int(block.size - np.count_nonzero(finite))
