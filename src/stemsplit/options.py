"""The options of `separate`, `analyse` and `melody`. This file imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stemsplit.errors import UsageError

Clip = Literal["rescale", "clamp", "none"]
CLIPS: tuple[Clip, ...] = ("rescale", "clamp", "none")
ContourFormat = Literal["csv", "mirex", "sv"]
Smoothing = Literal["viterbi", "median", "none"]
DEFAULT_OUTPUT = Path("separated")
DEFAULT_MELODY_OUTPUT = Path("melody")
DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"
WITHOUT_TEMPLATE = "{track} ({stem}).{ext}"
"""Where `without` goes: one file beside those of other songs."""
PACKS: Mapping[str, str] = {"stem.mp4": "m4a", "stem.alac": "alac"}
"""Formats of one file with several sound tracks, the song and its four stems → the format of every track."""
PACK_STEMS = ("drums", "bass", "other", "vocals")
"""The stems of such a file, in the order that its readers expect."""
PICTURED = {"mp4": "m4a"}
"""Formats that keep the picture of a video → the format of their sound."""
PACK_TEMPLATE = "{track}.{ext}"


class Preset(NamedTuple):
    """Options of `separate` under one name; what the user gives beside it wins."""

    about: str
    options: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = {
    "karaoke": Preset("the song without its voice, as MP3", {"without": "vocals", "format": "mp3"}),
    "acapella": Preset("the voice alone", {"stems": "vocals"}),
    "practice-drums": Preset("the song without its drums, to play along", {"without": "drums"}),
    "practice-bass": Preset("the song without its bass, to play along", {"without": "bass"}),
    "rhythm": Preset("drums and bass, and both together", {"stems": "drums,bass,rhythm", "mix": ["rhythm=drums+bass"]}),
    "share": Preset("all stems, small: as MP3", {"format": "mp3"}),
    "archive": Preset("all stems as FLAC, which add up to the song", {"format": "flac", "exact_sum": True}),
}
SELECTING = ("stems", "two_stems", "without", "mix")
"""Options that say which stems are wanted: one of the user's replaces those of a preset."""

_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,9})?)")


class TimeRange(NamedTuple):
    """A part of a song, in seconds; without an end it goes to that of the song."""

    start: float = 0.0
    end: float | None = None

    @classmethod
    def parsed(cls, text: str) -> TimeRange:
        """Return the part that a text names: 1:00-2:30, 1:00- or -2:30; hours, minutes and seconds, or seconds alone.

        Raises: UsageError.
        """
        first, dash, last = (part.strip() for part in text.partition("-"))
        if not dash or not (first or last):
            raise UsageError(f"--time-range {text[:40]!r}: give a start and an end, as in 1:00-2:30, 1:00- or -2:30")
        found = cls(_seconds(first) if first else 0.0, _seconds(last) if last else None)
        if found.end is not None and found.end <= found.start:
            raise UsageError(f"--time-range {text[:40]}: it ends before it begins")
        return found


def _seconds(text: str) -> float:
    if (match := _TIME.fullmatch(text)) is None:
        raise UsageError(f"--time-range: {text[:40]!r} is no time; give minutes and seconds, as in 1:30 or 1:02:03.5")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _range_setting(time_range: TimeRange | None) -> dict[str, Any]:
    """Return the setting that chooses a part; none for a whole song."""
    return {} if time_range is None else {"time_range": list(time_range)}


def _track_setting(audio_track: int | None) -> dict[str, int]:
    """Return the setting that chooses a sound track; none if the file's own choice is taken."""
    return {} if audio_track is None else {"audio_track": audio_track}


@dataclass(frozen=True)
class SeparateOptions:
    """The options of `separate`, the same for every track of a run.

    None stands for the model's own value, or for that of the source.
    """

    output: Path = DEFAULT_OUTPUT
    template: str = DEFAULT_TEMPLATE
    stems: str | tuple[str, ...] | None = None  # write only these
    two_stems: str | None = None  # write this one, and the sum of all others
    without: str | tuple[str, ...] | None = None  # write the sum of all stems but these
    mix: tuple[str, ...] = ()  # sums of stems to write, as in "NAME=drums+bass"
    exact_sum: bool = False
    format: str = "wav"
    bit_depth: str = "auto"
    bitrate: int | None = None  # bit/s that a lossy format aims at; None: its usual rate
    sample_rate: int | None = None  # Hz
    clip: Clip = "rescale"
    cover: bool = True  # stems get the song's cover art, where their format holds it
    chunk_seconds: float | None = None
    overlap: float | None = None  # fraction of a chunk
    batch_size: int | None = None  # chunks; None: 8 on CUDA, otherwise 1
    device: str = "auto"
    precision: str = "auto"
    force: bool = False
    audio_track: int | None = None  # of several sound tracks, from 1
    salvage: bool = False  # separate what is there of a damaged file
    time_range: TimeRange | None = None  # only this part
    daw: str | None = None  # "reaper": write a project beside the stems
    player: bool = False  # write the page that plays the stems, too

    @property
    def packed(self) -> bool:
        """Whether the song and its stems go into one file."""
        return self.format.lower() in PACKS

    def settings(self) -> dict[str, Any]:
        """Return the options that the written bytes depend on, as JSON values.

        If one of them differs from that of an earlier run, the track is separated again. The device, the batch size and
        the place of the files are not among them.
        """
        return {
            "exact_sum": self.exact_sum,
            "format": self.format,
            "bit_depth": self.bit_depth,
            "sample_rate": self.sample_rate or "source",
            "clip": self.clip,
            "precision": self.precision,
            **({} if self.bitrate is None else {"bitrate": self.bitrate}),
            **({} if self.cover else {"cover": False}),
            **({} if self.daw is None else {"daw": self.daw}),
            **_track_setting(self.audio_track),
            **_range_setting(self.time_range),
        }


@dataclass(frozen=True)
class AnalyseOptions:
    """The options of `analyse`, the same for every track of a run."""

    output: Path = DEFAULT_OUTPUT  # where `separate` may have left stems, which are used then
    click: bool = False  # write a click track
    count_in: int = 0  # bars of clicks before a backing track; 0: write none
    beats_per_bar: int = 4  # of the count-in
    without: tuple[str, ...] = ("vocals",)  # stems that the backing track lacks
    tags: bool = False  # write tempo and key into stems that are there
    device: str = "auto"
    force: bool = False
    audio_track: int | None = None
    salvage: bool = False
    time_range: TimeRange | None = None  # only this part

    def settings(self) -> dict[str, Any]:
        """Return the options that the written bytes depend on, as JSON values."""
        counted = {"count_in": self.count_in, "beats_per_bar": self.beats_per_bar, "without": list(self.without)}
        return {
            "click": self.click,
            **(counted if self.count_in else {}),
            **({"tags": True} if self.tags else {}),
            **_track_setting(self.audio_track),
            **_range_setting(self.time_range),
        }


@dataclass(frozen=True)
class MelodyOptions:
    """The options of `melody`, the same for every track of a run. None stands for the model's own value."""

    output: Path = DEFAULT_MELODY_OUTPUT
    vocals: bool = False  # the input is a voice alone: it need not be separated
    separated: Path | None = None  # where `separate` may have left stems, which are used then
    keep_stems: bool = False  # with `force`, too, which otherwise separates anew
    format: ContourFormat = "csv"
    hop_ms: float = 10.0
    fmin: float | None = None  # Hz
    fmax: float | None = None
    voicing_threshold: float | None = None  # a probability
    smooth: Smoothing = "viterbi"
    notes: bool = False
    midi: bool = False
    tempo: float | Literal["auto"] | None = None  # of the MIDI file, in beats per minute; auto: that of the drums
    bends: bool = True  # pitch bends in the MIDI file
    plot: bool = False
    ultrastar: bool = False  # a song for UltraStar, with the words of an .lrc beside the song
    tuning: float | None = None  # frequency of A4 in Hz; None: estimate it
    device: str = "auto"
    force: bool = False
    audio_track: int | None = None
    salvage: bool = False
    time_range: TimeRange | None = None  # only this part

    def settings(self) -> dict[str, Any]:
        """Return the options that the written bytes depend on, as JSON values.

        The voicing threshold is not among them, because the model may set it.
        """
        return {
            "vocals": self.vocals,
            "format": self.format,
            "hop_ms": self.hop_ms,
            "fmin": self.fmin,
            "fmax": self.fmax,
            "smooth": self.smooth,
            "tuning": self.tuning or "estimated",
            **self._midi_settings(),
            **_track_setting(self.audio_track),
            **_range_setting(self.time_range),
        }

    def _midi_settings(self) -> dict[str, Any]:
        """Return how the MIDI file, and that for UltraStar, is written, where it is not as usual."""
        if not (self.midi or self.ultrastar):
            return {}
        return ({} if self.tempo is None else {"tempo": self.tempo}) | ({} if self.bends else {"bends": False})
