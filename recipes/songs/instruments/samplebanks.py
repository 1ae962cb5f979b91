"""Recorded instruments: a file with all samples one after another, and a table of their places and pitches.

A bank is a folder with bank.opus and mapping.csv. Of the table's columns `sample` (the name), `start_s`, `length_s`,
`note_in_name`, `measured_midi` and `peak_db` are read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from songs.instruments.synths import Event
from songs.mix.effects import RATE
from stemsplit.errors import StemsplitError

BANKS: Mapping[str, tuple[str, ...]] = {
    "piano": ("SplendidGrandPiano", "GMbank.yamaha_upright_piano", "GMbank.cp80_electric_grand"),
    "rhodes": ("jlearman.jRhodes3c",),
    "acoustic guitar": ("GMbank.steel_guitar_martin_hd28", "karoryfer.shinyguitar_acoustic"),
    "electric guitar": ("karoryfer.emilyguitar", "karoryfer.shinyguitar_electric"),
    "double bass": ("karoryfer.meatbass_pizz",),
    "bowed bass": ("karoryfer.meatbass_arco",),
    "electric bass": ("GMbank.killer_bass_finger", "karoryfer.growlybass", "karoryfer.growlybass_staccato",
                      "karoryfer.pastabass_fetuccine_fingered", "karoryfer.pastabass_linguine_picked"),
    "plucked strings": ("GMbank.pizzicato_strings",),
    "strings": ("GMbank.tremolo_strings",),
    "saxophone": ("karoryfer.weresax_alto",),
}  # fmt: skip
"""Instrument → folders of its banks."""
PLAYED_BY: Mapping[int, str] = {
    **dict.fromkeys((0, 1, 2, 3), "piano"), **dict.fromkeys((4, 5), "rhodes"),
    **dict.fromkeys((24, 25), "acoustic guitar"), **dict.fromkeys((26, 27, 28, 29, 30), "electric guitar"),
    32: "double bass", 43: "bowed bass", **dict.fromkeys((33, 34, 35, 36, 37), "electric bass"),
    45: "plucked strings", 44: "strings", **dict.fromkeys((48, 49), "strings"),
    **dict.fromkeys((64, 65, 66), "saxophone"),
}  # fmt: skip
"""General MIDI program → the instrument that can play in its place."""
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_NOTE = re.compile(r"(?:^|[ _])([A-Ga-g])(#|b)?(-?\d)(?![A-Za-z0-9])")
_AGREE = 0.3  # semitones


class Sample(NamedTuple):
    """One recorded note: where it lies in the file (s), its pitch (MIDI), and its peak in dB."""

    start: float
    length: float
    pitch: float
    peak_db: float


@dataclass(frozen=True)
class SampleBank:
    """The notes of one instrument."""

    name: str
    path: Path
    samples: tuple[Sample, ...]


def read_bank(folder: Path) -> SampleBank:
    """Read a bank's table.

    Raises:
        StemsplitError: The folder has no bank, or its table cannot be read.
    """
    table, audio = folder / "mapping.csv", folder / "bank.opus"
    if not (table.is_file() and audio.is_file()):
        raise StemsplitError(f"{folder}: an instrument needs bank.opus and mapping.csv there")
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        pitches = _pitches([named_pitch(row) for row in rows], [float(row["measured_midi"] or 0) for row in rows])
        samples = [Sample(float(row["start_s"]), float(row["length_s"]), pitch, float(row["peak_db"]))
                   for row, pitch in zip(rows, pitches, strict=True) if pitch is not None]  # fmt: skip
    except (KeyError, ValueError) as error:
        raise StemsplitError(f"{table}: not a table of samples ({error})") from error
    return SampleBank(folder.name, audio, tuple(samples))


def named_pitch(row: Mapping[str, str]) -> int | None:
    """Return the MIDI pitch that a sample's name says, with C4 as 60, or None."""
    match = _NOTE.search(f" {row.get('note_in_name') or ''}") or _NOTE.search(row["sample"].replace("-", " "))
    if match is None:
        return None
    accidental = {"#": 1, "b": -1}.get(match[2] or "", 0)
    return _STEPS[match[1].lower()] + accidental + 12 * (int(match[3]) + 1)


def _pitches(named: Sequence[int | None], measured: Sequence[float]) -> list[float | None]:
    """Return the pitch of each sample.

    It is the measured one where that is the name's but for octaves. Elsewhere the measurement has failed, and the name
    is taken, moved by the octaves that separate names and measurements in this bank.
    """
    apart = [round((m - n) / 12) * 12 for n, m in zip(named, measured, strict=True)
             if n is not None and m and abs((m - n + 6) % 12 - 6) < _AGREE]  # fmt: skip
    octaves = float(np.median(apart)) if apart else 0.0
    found: list[float | None] = []
    for name, pitch in zip(named, measured, strict=True):
        if name is None:
            found.append(pitch or None)
        else:
            found.append(pitch if abs(pitch - name - octaves) < _AGREE else name + octaves)
    return found


@lru_cache(maxsize=24)
def _decoded(path: Path) -> tuple[np.ndarray, int]:
    """Return a bank's audio as int16 (channels, samples), and its rate in Hz: 200 MB for all banks together."""
    import soundfile

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(np.round(np.clip(audio.T[:2], -1, 1) * 32767).astype(np.int16)), rate


def play_bank(rng: np.random.Generator, bank: SampleBank, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play notes with the samples nearest in pitch, the louder ones for higher velocities: (2, samples)."""
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    release = float(rng.uniform(0.04, 0.2))
    notes: dict[tuple[Sample, int], np.ndarray] = {}
    for start, duration, key, velocity in events:
        sample = choose_sample(rng, bank.samples, key, velocity)
        if (sample, key) not in notes:
            notes[sample, key] = _note(bank.path, sample, key)
        sound = notes[sample, key]
        first, held = round(max(start, 0.0) * RATE), round(duration * RATE)
        end = min(held + round(release * RATE), sound.shape[1], audio.shape[1] - first)
        if end > 0:
            level = np.full(end, np.float32((velocity / 127) ** 1.5))
            fade = level[held:]
            fade *= np.maximum(1 - np.arange(len(fade), dtype=np.float32) / (release * RATE), 0)
            audio[:, first : first + end] += sound[:, :end] * level
    return audio


def choose_sample(rng: np.random.Generator, samples: Sequence[Sample], key: int, velocity: int) -> Sample:
    """Draw one of the samples that lie nearest to a key, among the louder half of them for a high velocity."""
    nearest = min(abs(sample.pitch - key) for sample in samples)
    near = sorted((s for s in samples if abs(s.pitch - key) < nearest + 0.5), key=lambda sample: sample.peak_db)
    place = np.clip(velocity / 127 * len(near) - 0.5 + rng.normal(0, 0.4), 0, len(near) - 1)
    return near[round(float(place))]


def _note(path: Path, sample: Sample, key: int) -> np.ndarray:
    """Return a sample played at a key's pitch, at 44.1 kHz: float32 (2, samples)."""
    audio, rate = _decoded(path)
    first = round(sample.start * rate)
    part = audio[:, first : first + round(sample.length * rate)]
    ratio = 2 ** ((key - sample.pitch) / 12) * rate / RATE
    at = np.arange(0, part.shape[1] - 1, ratio)
    sides = [np.interp(at, np.arange(part.shape[1]), side) for side in part]
    note = np.asarray(sides, np.float32) / np.float32(32767)
    note[:, -200:] *= np.linspace(1, 0, min(200, note.shape[1]), dtype=np.float32)
    return note if len(note) == 2 else np.repeat(note, 2, axis=0)
