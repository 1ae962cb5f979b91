"""What is known about an audio file before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stemsplit.audio.containers.view import WHOLE, View

Warn = Callable[[str], None]
"""Is called with one sentence for the user about each problem that was corrected."""

LOSSY = "lossy"

# libsndfile reads those of the first line, FFmpeg the others, which include video files with a sound track.
_SUFFIXES = """
    wav wave rf64 bwf w64 flac fla aif aiff aifc caf au snd ogg oga ogx opus mp3 mp2 mp1 mpa mpga m2a
    8svx avr ircam nist paf pvf sph voc wve
    m4a m4b m4r m4p aac adts mp4 m4v f4a f4v mov qt 3gp 3gpp 3ga 3g2 3gp2 3gpp2 mj2 webm weba mkv mka mk3d
    wma asf wmv avi flv ac3 ec3 eac3 dts dtshd thd truehd mlp loas ape mac wv tta tak mpc mpp amr awb
    ogv ogm spx dsf dff rm ra rmvb ts m2ts m2t mts mpg mpeg mpe m2p vob
"""
AUDIO_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


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

    @property
    def seconds(self) -> float | None:
        """Length in seconds; None if the file does not state it exactly."""
        return None if self.frames is None else self.frames / self.sample_rate


def is_audio(path: Path) -> bool:
    """Return whether a file found in a folder is audio, judged by its suffix. Hidden files are not."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
