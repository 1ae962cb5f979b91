"""A composed song before it sounds: notes, chords, sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

BEATS_PER_BAR = 4
"""A beat is a quarter note."""
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
"""Mode → semitones above the tonic."""
QUALITIES = {
    "M": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "M7": (0, 4, 7, 11), "m7": (0, 3, 7, 10),
    "s": (0, 5, 7), "5": (0, 7, 12), "h": (0, 3, 6, 10), "9": (0, 4, 7, 10, 14), "a9": (0, 4, 7, 14),
}  # fmt: skip
"""Quality of a chord → semitones above its root; "s" is suspended, "h" half diminished, "a9" an added ninth."""


class Note(NamedTuple):
    """One note: times in beats from the start of the song, pitch in MIDI semitones, velocity from 1 to 127."""

    start: float
    beats: float
    pitch: int
    velocity: int


class Chord(NamedTuple):
    """A harmony from `start` on for `beats` beats. `root` is a pitch class, `intervals` are semitones above it."""

    start: float
    beats: float
    root: int
    intervals: tuple[int, ...]

    @property
    def classes(self) -> frozenset[int]:
        """The pitch classes of the chord."""
        return frozenset((self.root + interval) % 12 for interval in self.intervals)


class Section(NamedTuple):
    """Some bars in which the same parts play; `start` and `beats` are in beats."""

    start: float
    beats: float
    active: frozenset[str]
    """The parts that play: drums, bass, vocals, other0, other1 and so on."""
    label: str
    """A, B or C: sections with the same label have the same chords and drums."""


@dataclass(frozen=True)
class Form:
    """A song's tempo, key, chords and sections."""

    tempo: float
    """Quarter notes per minute."""
    key: int
    """Pitch class of the tonic."""
    mode: str
    swing: float
    """How late the second eighth of a beat is: 0 not at all, 1 a full triplet."""
    chords: tuple[Chord, ...]
    sections: tuple[Section, ...]

    @property
    def beats(self) -> float:
        """The length in beats."""
        return self.sections[-1].start + self.sections[-1].beats

    @property
    def scale(self) -> frozenset[int]:
        """The pitch classes of the key."""
        return frozenset((self.key + step) % 12 for step in SCALES[self.mode])

    def seconds(self, beat: float) -> float:
        """Return the time of a beat in seconds."""
        return beat * 60.0 / self.tempo

    def chord_at(self, beat: float) -> Chord:
        """Return the chord that sounds at a beat."""
        return next((c for c in reversed(self.chords) if c.start <= beat + 1e-6), self.chords[0])

    def third_above(self, pitch: int) -> int:
        """Return the pitch two steps up the scale (MIDI)."""
        above = [p for p in range(pitch + 1, pitch + 6) if p % 12 in self.scale]
        return above[1] if len(above) > 1 else pitch + 4

    def active(self, part: str) -> tuple[Section, ...]:
        """Return the sections in which a part plays."""
        return tuple(section for section in self.sections if part in section.active)
