"""A pitch contour → the notes of a score, and their table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemsplit.errors import UsageError
from stemsplit.machine.disk import write_whole
from stemsplit.melody.contour import Contour
from stemsplit.melody.segment import Segment, joined, segments

STANDARD_HZ = 440.0
LOWEST_HZ, HIGHEST_HZ = 220.0, 880.0
_EVIDENCE = 3.0  # of the Rayleigh test: with less, notes that agree by chance are as likely as 5 %
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_HEADER = "onset,duration,midi,name,hz,cents"


@dataclass(frozen=True)
class Note:
    """A sung note: seconds, the nearest tempered note as a MIDI number, how far from it, and the median pitch."""

    onset: float
    duration: float
    midi: int
    cents: float
    hz: float

    @property
    def end(self) -> float:
        """Seconds from the start of the song to where the note has ended."""
        return self.onset + self.duration

    @property
    def name(self) -> str:
        """As in C#4; 60 is C4, 69 is A4."""
        return f"{_NAMES[self.midi % 12]}{self.midi // 12 - 1}"


@dataclass(frozen=True)
class Notes:
    """The notes in order, none overlapping, and the A4 in Hz that their numbers and cents refer to."""

    tuning_hz: float
    notes: tuple[Note, ...]


def find_notes(contour: Contour, tuning: float | None = None) -> Notes:
    """Find the notes of a melody (`segment.segments` says how).

    A note lasts from its first frame to the frame after its last, its glide or scoop included; `hz` is the median of
    what it holds after that. Notes that touch and would be written the same are one.

    Args:
        contour: the pitch; its guesses in unvoiced frames do not count.
        tuning: A4 in Hz; None estimates it from the notes.

    Raises: UsageError for a tuning that is none.
    """
    given = None if tuning is None else checked_tuning(tuning)
    semitones = midi_pitch(contour.frequency)
    found = segments(semitones, contour.voiced, contour.hop)
    a4 = _estimated(found, contour) if given is None else given
    shift = 12 * math.log2(a4 / STANDARD_HZ)
    found = joined(found, semitones, contour.voiced, lambda one, other: round(one - shift) == round(other - shift))
    return Notes(a4, tuple(_note(segment, contour.hop, shift) for segment in found))


def midi_pitch(hz: np.ndarray, tuning_hz: float = STANDARD_HZ) -> np.ndarray:
    """Fractional MIDI numbers of frequencies."""
    return 69 + 12 * np.log2(hz / tuning_hz)


def _estimated(found: list[Segment], contour: Contour) -> float:
    pitches = np.array([segment.semitones for segment in found])
    weights = np.array([contour.confidence[s.held : s.end].sum(dtype=np.float64) for s in found])
    return estimate_tuning(pitches, weights)


def _note(segment: Segment, hop: float, shift: float) -> Note:
    """`shift`: semitones of the tuning above 440 Hz."""
    hz = STANDARD_HZ * 2 ** ((segment.semitones - 69) / 12)
    exact = segment.semitones - shift
    midi = min(max(round(exact), 0), 127)
    return Note(segment.start * hop, (segment.end - segment.start) * hop, midi, 100 * (exact - midi), hz)


def write_notes(path: Path, notes: Notes) -> None:
    """Write a CSV: onset and duration in seconds, MIDI number and name, median Hz, cents from the tempered note.

    Raises: OutputError.
    """
    rows = [f"{n.onset:.4f},{n.duration:.4f},{n.midi},{n.name},{n.hz:.3f},{n.cents:.1f}" for n in notes.notes]
    write_whole(Path(path), "".join(f"{row}\n" for row in [_HEADER, *rows]).encode())


def checked_tuning(hz: float) -> float:
    """A tuning that the user gave, as it is.

    Raises: UsageError outside of 220 … 880 Hz.
    """
    if not LOWEST_HZ <= hz <= HIGHEST_HZ:
        raise UsageError(f"--tuning {hz:g} Hz is not an A4: choose {LOWEST_HZ:.0f} to {HIGHEST_HZ:.0f}, as in 440")
    return float(hz)


def estimate_tuning(semitones: np.ndarray, weights: np.ndarray) -> float:
    """A4 in Hz, within 50 cents of 440, to which notes deviate least from the tempered scale.

    It is the weighted circular mean of their deviations. If these do not agree (Rayleigh's test at 5 %: Fisher,
    "Statistical Analysis of Circular Data", 1993, section 4.3), no tuning can be heard, and 440 stands. So it does for
    one or two notes, which agree by themselves.

    Args:
        semitones: (n,) MIDI pitches of notes at 440 Hz, fractional; weights: (n,), their seconds times confidence.
    """
    total = float(weights.sum())
    if not total > 0:  # NaN too
        return STANDARD_HZ
    mean = complex((weights * np.exp(2j * np.pi * semitones)).sum() / total)
    count = total**2 / float((weights**2).sum())  # of equally heavy notes that would weigh as much
    if count * abs(mean) ** 2 < _EVIDENCE * (1 - 1e-9):
        return STANDARD_HZ
    return float(STANDARD_HZ * 2 ** (np.angle(mean) / (2 * np.pi) / 12))
