"""What a composed song is before it sounds: notes, chords, sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

BEATS_PER_BAR = 4
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
QUALITIES = {
    "M": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "M7": (0, 4, 7, 11), "m7": (0, 3, 7, 10),
    "s": (0, 5, 7), "5": (0, 7, 12), "h": (0, 3, 6, 10), "9": (0, 4, 7, 10, 14), "a9": (0, 4, 7, 14),
}  # fmt: skip


class Note(NamedTuple):
    """One note; times in beats from the start of the song, pitch in MIDI semitones, velocity 1..127."""

    start: float
    beats: float
    pitch: int
    velocity: int


class Chord(NamedTuple):
    """A harmony that holds from `start` for `beats` beats; `root` is a pitch class, `intervals` semitones above it."""

    start: float
    beats: float
    root: int
    intervals: tuple[int, ...]

    @property
    def classes(self) -> frozenset[int]:
        """Pitch classes of the chord."""
        return frozenset((self.root + interval) % 12 for interval in self.intervals)


class Section(NamedTuple):
    """A stretch of whole bars in which the parts named in `active` play."""

    start: float
    beats: float
    active: frozenset[str]
    label: str


@dataclass(frozen=True)
class Form:
    """Tempo in quarter notes per minute, key (pitch class of the tonic), mode, and how chords and sections follow."""

    style: str
    tempo: float
    key: int
    mode: str
    swing: float
    chords: tuple[Chord, ...]
    sections: tuple[Section, ...]

    @property
    def beats(self) -> float:
        """Length in beats."""
        return self.sections[-1].start + self.sections[-1].beats

    @property
    def scale(self) -> frozenset[int]:
        """Pitch classes of the key."""
        return frozenset((self.key + step) % 12 for step in SCALES[self.mode])

    def seconds(self, beat: float) -> float:
        """Time of a beat in seconds."""
        return beat * 60.0 / self.tempo

    def chord_at(self, beat: float) -> Chord:
        """The chord that sounds at a beat."""
        return next((c for c in reversed(self.chords) if c.start <= beat + 1e-6), self.chords[0])

    def third_above(self, pitch: int) -> int:
        """The note two steps up the scale, four semitones where the scale has no such note."""
        above = [p for p in range(pitch + 1, pitch + 6) if p % 12 in self.scale]
        return above[1] if len(above) > 1 else pitch + 4

    def active(self, part: str) -> tuple[Section, ...]:
        """The sections in which a part plays."""
        return tuple(section for section in self.sections if part in section.active)
