"""What is known about an audio file before it is decoded, and what no music is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stemsplit.audio.containers.view import WHOLE, View

Warn = Callable[[str], None]
"""Is called with one sentence for the user about each problem that was corrected."""

LOSSY = "lossy"

# Headers beyond these bounds cost gigabytes. Within them a song takes about as much memory as ever.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz
MOST_CHANNELS = 64
LOUDEST = 2.0**40
"""A larger sample is no sound. Full scale is 1, but integers of 32 bits that nobody divided are heard, too."""

# libsndfile reads those of the first line, FFmpeg the others, which include video files with a sound track.
_SUFFIXES = """
    wav wave rf64 bwf w64 flac fla aif aiff aifc caf au snd ogg oga ogx opus mp3 mp2 mp1 mpa mpga m2a
    8svx avr ircam nist paf pvf sph voc wve
    m4a m4b m4r m4p aac adts mp4 m4v f4a f4v mov qt 3gp 3gpp 3ga 3g2 3gp2 3gpp2 mj2 webm weba mkv mka mk3d
    wma asf wmv avi flv ac3 ec3 eac3 dts dtshd thd truehd mlp loas ape mac wv tta tak mpc mpp amr awb
    ogv ogm spx dsf dff rm ra rmvb ts m2ts m2t mts mpg mpeg mpe m2p vob
"""
AUDIO_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


class Part(NamedTuple):
    """What is read of a file: samples from `start` on, to `stop` or the end. `frames`: those of the whole file."""

    start: int
    stop: int | None
    frames: int | None


@dataclass(frozen=True)
class AudioInfo:
    """One audio file: where it is and what it holds."""

    path: Path
    sample_rate: int  # Hz
    channels: int
    frames: int | None  # samples per channel; None if the file does not state them exactly
    container: str
    subtype: str
    bit_depth: str  # the one that loses nothing: "16", "24" or "32f"; "lossy" for a codec without a bit depth
    decoder: str = "libsndfile"  # or "ffmpeg": the library that reads the file
    view: View = WHOLE  # which bytes of the file the decoder gets
    parts: tuple[View, ...] = ()  # what follows in a file that was joined of several
    track: int | None = None  # which of several sound tracks is read, from 1; None if there is only one
    salvage: bool = False  # read what is there of a damaged file
    notes: tuple[str, ...] = ()  # what is to be said about the file when it is read
    part: Part | None = None  # only this is read of it, and counted by `frames`

    @property
    def seconds(self) -> float | None:
        """Length in seconds; None if the file does not state it exactly."""
        return None if self.frames is None else self.frames / self.sample_rate


def is_audio(path: Path) -> bool:
    """Return whether a file found in a folder is audio, judged by its suffix. Hidden files are not."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


def rate_problem(sample_rate: float) -> str | None:
    """Return why a sample rate in Hz is refused, or None."""
    if LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        return None
    return f"a sample rate of {sample_rate} Hz: stemsplit knows {LOWEST_RATE} to {HIGHEST_RATE} Hz"


def form_problem(sample_rate: float, channels: int) -> str | None:
    """Return why a sample rate in Hz or a number of channels is refused, or None."""
    if 1 <= channels <= MOST_CHANNELS:
        return rate_problem(sample_rate)
    return f"{channels} channels: stemsplit knows 1 to {MOST_CHANNELS}"


def level_problem(block: np.ndarray) -> str | None:
    """Return why samples (channels, n) are refused, or None. NaN and infinity are not judged here."""
    peak = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
    return f"not audio: it holds samples of {peak:.1e}, where full scale is 1" if LOUDEST < peak < np.inf else None
