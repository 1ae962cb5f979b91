"""What a user can ask of `separate` and of `melody`. Light: importing it costs nothing."""

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


@dataclass(frozen=True)
class SeparateOptions:
    """One request, the same for every track of a run. `None` stands for the model's or the source's own value."""

    output: Path = DEFAULT_OUTPUT
    template: str = DEFAULT_TEMPLATE
    stems: str | tuple[str, ...] | None = None  # only these
    two_stems: str | None = None  # this one, and all others together
    mix: tuple[str, ...] = ()  # "NAME=drums+bass"
    exact_sum: bool = False
    format: str = "wav"
    bit_depth: str = "auto"
    sample_rate: int | None = None  # Hz
    clip: Clip = "rescale"
    chunk_seconds: float | None = None
    overlap: float | None = None  # fraction of a chunk
    batch_size: int = 1
    device: str = "auto"
    precision: str = "auto"
    force: bool = False

    def settings(self) -> dict[str, Any]:
        """What decides over the written bytes, as JSON values: with another setting a track is separated anew.

        Which device computes, how many chunks at once, and where the files go are not among them.
        """
        return {
            "exact_sum": self.exact_sum,
            "format": self.format,
            "bit_depth": self.bit_depth,
            "sample_rate": self.sample_rate or "source",
            "clip": self.clip,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class MelodyOptions:
    """One request, the same for every track of a run. `None` stands for the model's own value."""

    output: Path = DEFAULT_MELODY_OUTPUT
    vocals: bool = False  # the input is a voice already
    format: ContourFormat = "csv"
    hop_ms: float = 10.0
    fmin: float | None = None  # Hz
    fmax: float | None = None
    voicing_threshold: float | None = None  # probability
    smooth: Smoothing = "viterbi"
    notes: bool = False
    midi: bool = False
    plot: bool = False
    tuning: float | None = None  # Hz of A4; None estimates it
    device: str = "auto"
    force: bool = False

    def settings(self) -> dict[str, Any]:
        """What decides over the written bytes, as JSON values; the threshold, which may be the model's, is not here."""
        return {
            "vocals": self.vocals,
            "format": self.format,
            "hop_ms": self.hop_ms,
            "fmin": self.fmin,
            "fmax": self.fmax,
            "smooth": self.smooth,
            "tuning": self.tuning or "estimated",
        }
