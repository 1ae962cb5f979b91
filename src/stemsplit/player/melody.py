"""A melody that `stemsplit melody` has left → what the page draws over the vocals."""

from __future__ import annotations

import base64
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.errors import AudioError, UsageError
from stemsplit.files.manifest import MELODY_MANIFEST, output_paths, read_manifest
from stemsplit.melody.contour import Contour
from stemsplit.melody.formats import read_contour
from stemsplit.melody.notes import STANDARD_HZ, find_notes, midi_pitch

MOST_FRAMES, MOST_NOTES = 16_000, 8_000
"""Of a page, which stays small however long the song is."""
FINEST = 0.1
"""Semitones between two levels of pitch, or more where the melody ranges wider."""
_LEVELS = 254


def find_melody(folder: Path, names: Collection[str], hashes: Collection[str]) -> Path | None:
    """Return the manifest in `folder` of a melody of this song.

    Args:
        folder: where `melody` wrote.
        names: what the track may be called there.
        hashes: SHA-256 of the song and of its stems; the melody is of one of them.
    """
    for name in names:
        path = folder / f"{name}.{MELODY_MANIFEST}"
        made_of = (read_manifest(path) or {}).get("input")
        if isinstance(made_of, dict) and made_of.get("sha256") in hashes:
            return path
    return None


def read_melody(path: Path) -> tuple[Contour, float | None] | None:
    """Return the contour that a manifest of `melody` lists, and the tuning in Hz; None if it cannot be read."""
    manifest = read_manifest(path) or {}
    try:
        contour = read_contour(output_paths(path, manifest)["f0"])
    except (AudioError, KeyError, TypeError, AttributeError, ValueError):
        return None
    tuning = manifest.get("tuning_hz")
    return contour, tuning if isinstance(tuning, float) else None


def packed_melody(contour: Contour, tuning: float | None) -> dict[str, Any] | None:
    """Return a melody as JSON; None if nothing is sung.

    `pitch` is base64 with a byte per frame, `step` seconds apart: 0 where nobody sings, else 1 + (semitones - `low`) /
    `unit`, MIDI numbers. `notes` has three numbers for each: hundredths of a second since the onset before, and of its
    duration, and its MIDI number, which is `shift` below where it is drawn.
    """
    every = max(1, math.ceil(len(contour) / MOST_FRAMES))
    voiced, hertz = contour.voiced[::every], contour.frequency[::every]
    if not voiced.any():
        return None
    pitch = midi_pitch(np.where(voiced, hertz, STANDARD_HZ))
    low = math.floor(pitch[voiced].min())
    unit = max(FINEST, (pitch[voiced].max() - low) / (_LEVELS - 1))
    levels = np.where(voiced, 1 + np.rint((pitch - low) / unit), 0).astype(np.uint8)
    try:
        found = find_notes(contour, tuning)
    except UsageError:  # somebody edited the tuning
        found = find_notes(contour)
    return {
        "step": round(contour.hop * every, 6),
        "low": low,
        "unit": round(float(unit), 6),
        "pitch": base64.b64encode(levels.tobytes()).decode(),
        "shift": round(12 * math.log2(found.tuning_hz / STANDARD_HZ), 3),
        "notes": _packed([(note.onset, note.duration, note.midi) for note in found.notes[:MOST_NOTES]]),
    }


def _packed(notes: list[tuple[float, float, int]]) -> list[int]:
    packed, before = [], 0
    for onset, duration, midi in notes:
        begin = round(100 * onset)
        packed += [begin - before, round(100 * duration), midi]
        before = begin
    return packed
