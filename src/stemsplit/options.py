"""The options of `separate` and of `melody`. This file imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Clip = Literal["rescale", "clamp", "none"]
CLIPS: tuple[Clip, ...] = ("rescale", "clamp", "none")
ContourFormat = Literal["csv", "mirex", "sv"]
Smoothing = Literal["viterbi", "median", "none"]
DEFAULT_OUTPUT = Path("separated")
DEFAULT_MELODY_OUTPUT = Path("melody")
DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"
WITHOUT_TEMPLATE = "{track} ({stem}).{ext}"
"""Where `without` goes: one file beside those of other songs."""


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
    player: bool = False  # write the page that plays the stems, too

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
            **({} if self.cover else {"cover": False}),
            **_track_setting(self.audio_track),
        }


@dataclass(frozen=True)
class MelodyOptions:
    """The options of `melody`, the same for every track of a run. None stands for the model's own value."""

    output: Path = DEFAULT_MELODY_OUTPUT
    vocals: bool = False  # the input is a voice alone: it need not be separated
    separated: Path | None = None  # where `separate` may have left stems, which are used then
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
    tuning: float | None = None  # frequency of A4 in Hz; None: estimate it
    device: str = "auto"
    force: bool = False
    audio_track: int | None = None
    salvage: bool = False

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
        }

    def _midi_settings(self) -> dict[str, Any]:
        """Return how the MIDI file is written, where it is not as usual."""
        if not self.midi:
            return {}
        return ({} if self.tempo is None else {"tempo": self.tempo}) | ({} if self.bends else {"bends": False})
