"""Voicebanks made of spoken syllables, such as the names of letters.

The longest voiced part of a recording is what can be sung.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from songs.mix.effects import RATE
from songs.voices.voicebank import FRAME_SECONDS, Bank, Syllable, read_syllable, world

SHORTEST = 0.09
"""Seconds of a recording that must be voiced."""
ONSET = 0.12
"""Seconds before the voiced part that may belong to it, for a consonant."""
MALE_BELOW, MALE_TRACT = 53.0, 0.87
"""Below this MIDI pitch a speaker is taken for a man, and his resonances for lower than a woman's by this ratio."""
FEWEST = 8
"""Recordings of a speaker that can be sung, at least."""


class Spoken(NamedTuple):
    """A recording's voiced part, from `first` to `last` in seconds, and its median pitch in MIDI semitones."""

    first: float
    last: float
    pitch: float


def speaker_bank(name: str, files: Sequence[Path]) -> Bank | None:
    """Return a bank of one speaker's recordings, or None if too few can be sung.

    Each recording is a syllable with no vowel before it.
    """
    found = {path: spoken for path in files if (spoken := _voiced_part(path))}
    if len(found) < FEWEST:
        return None
    centre = float(np.median([spoken.pitch for spoken in found.values()]))
    table = {("-", path.stem): _syllable(path, spoken) for path, spoken in found.items()}
    return Bank(name, centre, table, MALE_TRACT if centre < MALE_BELOW else 1.0)


def _syllable(path: Path, spoken: Spoken) -> Syllable:
    """Return a recording's syllable, whose vowel is held from about a third of the voiced part on."""
    offset = max(spoken.first - ONSET, 0.0)
    before, length = spoken.first - offset, spoken.last - spoken.first
    held = 0.35 * length  # the beginning of the vowel is said once, what follows can be held
    return Syllable(path, "-", path.stem, offset, before + held, before + 0.9 * length, 0.0, before + 0.02, 0.03)


def _voiced_part(path: Path) -> Spoken | None:
    """Return the longest voiced part of a recording's first 4 seconds, or None if it is too short."""
    whole = Syllable(path, "-", path.stem, 0.0, 0.0, None, 0.0, 0.0, 0.0)
    sound = read_syllable(whole, longest=4.0).astype(np.float64)
    pitch, times = world().dio(sound, RATE, f0_floor=65.0, f0_ceil=500.0, frame_period=FRAME_SECONDS * 1000)
    pitch = world().stonemask(sound, pitch, times, RATE)
    runs = _runs(pitch > 0)
    first, last = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
    if (last - first) * FRAME_SECONDS < SHORTEST:
        return None
    median = float(np.median(pitch[first:last]))
    return Spoken(first * FRAME_SECONDS, last * FRAME_SECONDS, 69 + 12 * float(np.log2(median / 440)))


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and last index (exclusive) of every run of true values."""
    edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
