"""What songs are made of, and a song in the making."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songs.composition.score import Form
from songs.composition.styles import STYLES, Style
from songs.instruments import drums
from songs.instruments.soundfont import Playable
from songs.mix import mixdown
from songs.mix.effects import RATE
from songs.voices import recorded
from songs.voices.voicebank import AnalysisStore, Bank

Synth = Callable[[Sequence[Playable], Path, float], list[np.ndarray]]


@dataclass(frozen=True)
class Kit:
    """A drum kit in a soundfont; `channel` 9 for General MIDI percussion, another for kits in a melodic bank."""

    soundfont: Path
    program: int
    channel: int


@dataclass(frozen=True)
class Sources:
    """What songs are made of. `synth(parts, soundfont, seconds)` returns one (2, samples) array per part.

    `banks` come with weights; `clip_share` is the chance that a song's vocals are recorded clips. `various` widens the
    choice of voices, instruments and mixes; without it songs are what they were when the first models were trained.
    `soundfonts` are those beside `soundfont` that various songs may use.
    """

    synth: Synth
    soundfont: Path
    takes: tuple[drums.Take, ...]
    shots: drums.OneShots
    kits: tuple[Kit, ...]
    banks: tuple[tuple[Bank, float], ...]
    clips: recorded.Clips
    impulses: tuple[Path, ...]
    store: AnalysisStore
    clip_share: float = 0.45
    seconds: tuple[float, float] = (30.0, 45.0)
    styles: tuple[Style, ...] = STYLES
    various: bool = False
    soundfonts: tuple[Path, ...] = ()


@dataclass
class Draft:
    """A song in the making: what the parts of it have in common, and the provenance they leave in `meta`."""

    rng: np.random.Generator
    sources: Sources
    style: Style
    form: Form
    roles: list[tuple[str, tuple[int, ...]]]
    seconds: float
    meta: dict[str, Any] = field(default_factory=dict)

    def silence(self) -> np.ndarray:
        """(2, samples) of zeros."""
        return np.zeros((2, round(self.seconds * RATE)), np.float32)

    def pick(self, items: Sequence[Any]) -> Any:
        """One of the items."""
        return items[int(self.rng.integers(len(items)))]

    def chance(self, probability: float) -> bool:
        """Whether something happens."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """A number drawn evenly."""
        return float(self.rng.uniform(low, high))

    def treat(self, audio: np.ndarray, wet: tuple[float, float], drive: float) -> np.ndarray:
        """The stem (2, samples) after tone, dynamics and room."""
        return mixdown.treat(self.rng, audio, self.sources.impulses, wet, drive, self.synthetic)

    @property
    def synthetic(self) -> float:
        """The chance that a room is computed."""
        return 0.5 if self.sources.various else 0.0
