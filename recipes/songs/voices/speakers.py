"""Voicebanks out of spoken syllables, such as letter names: what is voiced of a recording is what can be sung."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from songs.mix.effects import RATE
from songs.voices.voicebank import FRAME_SECONDS, Bank, Syllable, read_syllable, world

SHORTEST = 0.09
"""Seconds that must be voiced."""
ONSET = 0.12
"""Seconds before the voice that may belong to it: a consonant."""
MALE_BELOW, MALE_TRACT = 53.0, 0.87
"""Who speaks lower than this MIDI pitch is taken to have a longer vocal tract, by this ratio to a woman's."""


class Spoken(NamedTuple):
    """A recording's voiced part in seconds, from first to last, and its median pitch in MIDI semitones."""

    first: float
    last: float
    pitch: float


def speaker_bank(name: str, files: Sequence[Path]) -> Bank | None:
    """A bank of one speaker's recordings, each a syllable without lead-in; None where too few can be sung."""
    found = {path: spoken for path in files if (spoken := _voiced_part(path))}
    if len(found) < 8:
        return None
    centre = float(np.median([spoken.pitch for spoken in found.values()]))
    table = {("-", path.stem): _syllable(path, spoken) for path, spoken in found.items()}
    return Bank(name, centre, table, MALE_TRACT if centre < MALE_BELOW else 1.0)


def _syllable(path: Path, spoken: Spoken) -> Syllable:
    offset = max(spoken.first - ONSET, 0.0)
    before, length = spoken.first - offset, spoken.last - spoken.first
    held = 0.35 * length  # the vowel's own beginning is said once, what follows can be held
    return Syllable(path, "-", path.stem, offset, before + held, before + 0.9 * length, 0.0, before + 0.02, 0.03)


def _voiced_part(path: Path) -> Spoken | None:
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
    edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
