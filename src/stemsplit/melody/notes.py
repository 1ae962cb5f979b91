"""A pitch contour → notes, and a table of them."""

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
_EVIDENCE = 3.0  # of the Rayleigh test: below it, notes would agree this well by chance in more than 5 % of cases
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_HEADER = "onset,duration,midi,name,hz,cents"


@dataclass(frozen=True)
class Note:
    """A sung note."""

    onset: float  # s
    duration: float  # s
    midi: int  # number of the nearest tempered note
    cents: float  # how far the sung pitch is above that note
    hz: float  # median of the sung pitch

    @property
    def end(self) -> float:
        """The end of the note, in seconds from the start of the song."""
        return self.onset + self.duration

    @property
    def name(self) -> str:
        """The name of the tempered note, as in C#4. MIDI number 60 is C4, 69 is A4."""
        return f"{_NAMES[self.midi % 12]}{self.midi // 12 - 1}"


@dataclass(frozen=True)
class Notes:
    """The notes of a melody, and its tuning."""

    tuning_hz: float  # the frequency of A4 that MIDI numbers and cents refer to
    notes: tuple[Note, ...]  # in order, without overlap


def find_notes(contour: Contour, tuning: float | None = None) -> Notes:
    """Find the notes of a melody, by the method of `segment`.

    A note includes the glide that leads to it. Its `hz` is the median of the pitch after the glide. Notes that follow
    one another without a gap and have the same MIDI number are joined to one.

    Args:
        contour: the pitch; guesses in unvoiced frames are not used.
        tuning: the frequency of A4 in Hz; None estimates it from the notes.

    Raises:
        UsageError: see `checked_tuning`.
    """
    given = None if tuning is None else checked_tuning(tuning)
    semitones = midi_pitch(contour.frequency)
    found = segments(semitones, contour.voiced, contour.hop)
    a4 = _estimated(found, contour) if given is None else given
    shift = 12 * math.log2(a4 / STANDARD_HZ)
    found = joined(found, semitones, contour.voiced, lambda one, other: round(one - shift) == round(other - shift))
    return Notes(a4, tuple(_note(segment, contour.hop, shift) for segment in found))


def midi_pitch(hz: np.ndarray) -> np.ndarray:
    """Return the fractional MIDI numbers of frequencies in Hz, with A4 at 440 Hz."""
    return 69 + 12 * np.log2(hz / STANDARD_HZ)


def _estimated(found: list[Segment], contour: Contour) -> float:
    pitches = np.array([segment.semitones for segment in found])
    weights = np.array([contour.confidence[s.held : s.end].sum(dtype=np.float64) for s in found])
    return estimate_tuning(pitches, weights)


def _note(segment: Segment, hop: float, shift: float) -> Note:
    """Return the note of a segment. `shift` is how many semitones the tuning is above 440 Hz."""
    hz = STANDARD_HZ * 2 ** ((segment.semitones - 69) / 12)
    exact = segment.semitones - shift
    midi = min(max(round(exact), 0), 127)
    return Note(segment.start * hop, (segment.end - segment.start) * hop, midi, 100 * (exact - midi), hz)


def write_notes(path: Path, notes: Notes) -> None:
    """Write notes as a CSV file with the columns of `Note`. Raises: OutputError."""
    rows = [f"{n.onset:.4f},{n.duration:.4f},{n.midi},{n.name},{n.hz:.3f},{n.cents:.1f}" for n in notes.notes]
    write_whole(Path(path), "".join(f"{row}\n" for row in [_HEADER, *rows]).encode())


def checked_tuning(hz: float) -> float:
    """Return a tuning that the user gave. Raises: UsageError if it is not from 220 to 880 Hz."""
    if not LOWEST_HZ <= hz <= HIGHEST_HZ:
        raise UsageError(f"--tuning {hz:g} Hz is not an A4: choose {LOWEST_HZ:.0f} to {HIGHEST_HZ:.0f}, as in 440")
    return float(hz)


def estimate_tuning(semitones: np.ndarray, weights: np.ndarray) -> float:
    """Return the tuning, the frequency of A4 in Hz, from which notes deviate least. It is within 50 cents of 440.

    It is the weighted circular mean of the deviations of the notes from the tempered scale. If the deviations do not
    agree (Rayleigh's test at 5 %: Fisher, "Statistical Analysis of Circular Data", 1993, section 4.3), the notes have
    no common tuning, and 440 is returned. The test never passes with one or two notes.

    Args:
        semitones: (n,) fractional MIDI numbers of the notes, with A4 at 440 Hz.
        weights: (n,) of the notes: seconds times confidence.
    """
    total = float(weights.sum())
    if not total > 0:  # NaN too
        return STANDARD_HZ
    mean = complex((weights * np.exp(2j * np.pi * semitones)).sum() / total)
    count = total**2 / float((weights**2).sum())  # effective number of notes: n if all weights are equal
    if count * abs(mean) ** 2 < _EVIDENCE * (1 - 1e-9):
        return STANDARD_HZ
    return float(STANDARD_HZ * 2 ** (np.angle(mean) / (2 * np.pi) / 12))
