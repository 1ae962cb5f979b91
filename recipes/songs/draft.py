"""What songs are made of, and a song in the making."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songs.composition.cast import FULL, Cast
from songs.composition.score import Form
from songs.composition.styles import STYLES, Style
from songs.instruments import drums
from songs.instruments.loops import Loop
from songs.instruments.samplebanks import SampleBank
from songs.instruments.soundfont import Playable
from songs.mix import mixdown
from songs.mix.effects import RATE
from songs.voices import recorded
from songs.voices.people.person import Person
from songs.voices.voicebank import AnalysisStore, Bank

Synth = Callable[[Sequence[Playable], Path, float], list[np.ndarray]]
"""Plays parts with a soundfont: returns (2, samples) of so many seconds for each; see `soundfont.play`."""


@dataclass(frozen=True)
class Kit:
    """A drum kit of a soundfont. `channel` is 9 for General MIDI percussion, another for kits of a melodic bank."""

    soundfont: Path
    program: int
    channel: int


@dataclass(frozen=True)
class Sources:
    """What songs are made of."""

    synth: Synth
    soundfont: Path
    takes: tuple[drums.Take, ...]
    shots: drums.OneShots
    kits: tuple[Kit, ...]
    banks: tuple[tuple[Bank, float], ...]
    """Voicebanks, and how often each is drawn."""
    clips: recorded.Clips
    impulses: tuple[Path, ...]
    """Recorded rooms."""
    store: AnalysisStore
    """The analyses of the voicebanks."""
    clip_share: float = 0.45
    """Probability that a song's vocals are recorded clips."""
    seconds: tuple[float, float] = (30.0, 45.0)
    """Length of a song, shortest and longest."""
    styles: tuple[Style, ...] = STYLES
    various: bool = False
    """Widens the choice of voices, instruments and mixes. Without it songs are those of the first models."""
    soundfonts: tuple[Path, ...] = ()
    """Those beside `soundfont` that various songs may use."""
    loops: tuple[Loop, ...] = ()
    """Drum loops of various songs."""
    recorded: Mapping[str, tuple[SampleBank, ...]] = field(default_factory=dict)
    """Instrument, a key of `samplebanks.BANKS` → its recordings, for various songs."""
    people: tuple[Person, ...] = ()
    """Those who were recorded speaking, for the vocals of various songs."""
    people_share: float = 1.0
    """Probability that the vocals are theirs, if there are any."""
    people_kinds: tuple[str, ...] = ()
    """The kinds of vocals to draw from, in songs that all have vocals then; none: those that fit the style."""


@dataclass
class Draft:
    """A song in the making."""

    rng: np.random.Generator
    """The source of all choices; their order decides what the song is."""
    sources: Sources
    style: Style
    form: Form
    roles: list[tuple[str, tuple[int, ...]]]
    """Roles of the accompanying parts, and the programs that may play each."""
    seconds: float
    cast: Cast = FULL
    """Who plays."""
    meta: dict[str, Any] = field(default_factory=dict)
    """What was drawn, and what each stem is made of."""

    def silence(self) -> np.ndarray:
        """Return zeros of the song's length, (2, samples)."""
        return np.zeros((2, round(self.seconds * RATE)), np.float32)

    def pick(self, items: Sequence[Any]) -> Any:
        """Draw one of the items."""
        return items[int(self.rng.integers(len(items)))]

    def chance(self, probability: float) -> bool:
        """Draw whether something happens."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """Draw a number between two."""
        return float(self.rng.uniform(low, high))

    def treat(self, audio: np.ndarray, wet: tuple[float, float], drive: float) -> np.ndarray:
        """Return a stem (2, samples) after tone, dynamics and room; see `mixdown.treat`."""
        return mixdown.treat(self.rng, audio, self.sources.impulses, wet, drive, self.synthetic)

    @property
    def synthetic(self) -> float:
        """The probability that a room is computed instead of recorded."""
        return 0.5 if self.sources.various else 0.0
