"""What is known about an audio file before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Warn = Callable[[str], None]
"""Receives one readable sentence for each thing that was put right on the way."""

LOSSY = "lossy"

# The first line is libsndfile's, the rest FFmpeg's: video containers with a sound track among them.
_SUFFIXES = """
    wav wave rf64 bwf w64 flac aif aiff aifc caf au snd ogg oga opus mp3 mp2
    m4a m4b m4r aac mp4 m4v mov 3gp webm weba mkv mka wma asf ac3 eac3 dts ape wv tta mpc amr avi flv ts mpg
    mpeg dsf
"""
AUDIO_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


@dataclass(frozen=True)
class AudioInfo:
    """One audio file: where it is and what it holds.

    ``frames``: samples per channel when the file states them exactly, else None. ``bit_depth``: the depth
    that keeps what the file has, "16", "24" or "32f", or "lossy" for a codec that has none. ``decoder``: what
    reads it.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int | None
    container: str
    subtype: str
    bit_depth: str
    decoder: str = "libsndfile"

    @property
    def seconds(self) -> float | None:
        """Length in seconds, None when the file does not state it."""
        return None if self.frames is None else self.frames / self.sample_rate


def is_audio(path: Path) -> bool:
    """Whether the name looks like audio (by suffix; hidden files do not), for expanding folders."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
