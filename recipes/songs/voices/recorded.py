"""Recorded singing: clips of MIR-1K, laid into the vocal sections of a song and moved to its key.

C.-L. Hsu, J.-S. R. Jang, IEEE TASLP 18(2), 2010.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from songs.composition.score import Form
from songs.mix.effects import RATE, highpass, lowpass


@dataclass(frozen=True)
class Clips:
    """Recordings of voices, and their melodies."""

    songs: Mapping[str, tuple[Path, ...]]
    """Song (SINGER_NUMBER) → its files in order."""
    melodies: Mapping[str, np.ndarray]
    """File's name without its ending → MIDI semitones every 20 ms, 0 where nobody sings."""


def list_clips(folder: Path, singers: Sequence[str] | None, without: Sequence[str] = ()) -> Clips:
    """Return the clips of the named singers (None: of all) other than `without`.

    A file is called SINGER_SONG_PART.voice.opus; labels.npz holds the melodies.
    """
    songs: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.voice.opus")):
        singer, song = path.name.split("_")[:2]
        if (singers is None or singer in singers) and singer not in without:
            songs.setdefault(f"{singer}_{song}", []).append(path)
    labels = folder / "labels.npz"
    melodies = dict(np.load(labels)) if labels.exists() else {}
    return Clips({name: tuple(paths) for name, paths in songs.items()}, melodies)


def best_shift(melody: np.ndarray, scale: frozenset[int], furthest: int = 3) -> int:
    """Return the transposition within ±`furthest` semitones that puts most of a melody into a scale.

    Of several the smallest is taken.
    """
    notes = np.round(melody[melody > 0]).astype(int)
    inside = {shift: np.isin((notes + shift) % 12, list(scale)).mean() if len(notes) else 0.0
              for shift in range(-furthest, furthest + 1)}  # fmt: skip
    return max(inside, key=lambda shift: (round(float(inside[shift]), 2), -abs(shift)))


class Placement(NamedTuple):
    """A clip's samples (44.1 kHz, mono), and the second of the song at which they start."""

    path: Path
    start: float
    sound: np.ndarray


def place_clips(rng: np.random.Generator, form: Form, clips: Clips, seconds: float) -> tuple[np.ndarray, list[str]]:
    """Lay the clips of one singer's song one after another into the vocal sections.

    Returns:
        (samples,) at 44.1 kHz, and the names of the clips.
    """
    song = choose_song(rng, clips)
    shift = best_shift(melody_of(clips, song), form.scale)
    placements = plan_clips(rng, form, song, lambda path: read_clip(path, shift))
    return extend(rng, lay_clips(placements, seconds)), used_names(placements)


def choose_song(rng: np.random.Generator, clips: Clips) -> tuple[Path, ...]:
    """Draw one song of one singer."""
    names = sorted(clips.songs)
    return clips.songs[names[int(rng.integers(len(names)))]]


def melody_of(clips: Clips, song: Sequence[Path]) -> np.ndarray:
    """Return the melody of a song's clips end to end: MIDI semitones every 20 ms, 0 where nobody sings."""
    return np.concatenate([clips.melodies.get(_name(path), np.zeros(1)) for path in song])


def plan_clips(
    rng: np.random.Generator, form: Form, song: Sequence[Path], read: Callable[[Path], np.ndarray]
) -> list[Placement]:
    """Place a song's clips one after another in the vocal sections, from a random one on, with short rests between."""
    placements, at = [], int(rng.integers(len(song)))
    for section in form.active("vocals"):
        now, end = form.seconds(section.start), form.seconds(section.start + section.beats)
        while now < end - 1.0:
            path = song[at % len(song)]
            sound = read(path)[: round((end - now) * RATE)]
            placements.append(Placement(path, now, sound))
            now += len(sound) / RATE + float(rng.choice([0.0, 0.0, 0.5, 1.5]))
            at += 1
    return placements


def lay_clips(placements: Sequence[Placement], seconds: float, late: float = 0.0, cents: float = 0.0) -> np.ndarray:
    """Return the placed clips as (samples,) at 44.1 kHz.

    For another voice of a choir they can be `late` seconds later and `cents` higher.
    """
    audio = np.zeros(round(seconds * RATE), np.float32)
    for placement in placements:
        sound = placement.sound
        if cents:
            steps = np.arange(0, len(sound) - 1, 2 ** (cents / 1200))
            sound = np.interp(steps, np.arange(len(sound)), sound).astype(np.float32)
        _lay(audio, sound, placement.start + late)
    return audio


def used_names(placements: Sequence[Placement]) -> list[str]:
    """Return the files' names, each once."""
    return sorted({placement.path.name for placement in placements})


def _name(path: Path) -> str:
    return path.name.removesuffix(".voice.opus")


def read_clip(path: Path, shift: int, change: Callable[[np.ndarray, int], np.ndarray] | None = None) -> np.ndarray:
    """Read a clip as (samples,) at 44.1 kHz, transposed by `shift` semitones by playing it faster or slower.

    `change` may alter the samples first; it gets them with their rate in Hz.
    """
    import soxr

    audio, rate = soundfile.read(path, dtype="float32")
    audio = audio if change is None else change(audio, rate)
    return np.asarray(soxr.resample(audio, rate * 2 ** (shift / 12), RATE), np.float32)


def _lay(audio: np.ndarray, sound: np.ndarray, start: float) -> None:
    """Add a sound to `audio` at `start` seconds, faded in and out over 20 ms."""
    first = round(start * RATE)
    sound = sound[: max(0, len(audio) - first)].copy()
    fade = min(len(sound), round(0.02 * RATE))
    if fade:
        sound[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        sound[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    audio[first : first + len(sound)] += sound


def extend(rng: np.random.Generator, audio: np.ndarray, from_hertz: float = 7000.0) -> np.ndarray:
    """Give a voice (samples,) that was recorded at 16 kHz an upper octave: overtones of its own treble, and noise.

    Without it a network would learn that nobody sings above 8 kHz.
    """
    top = highpass(audio, from_hertz / 2, 4)
    level = np.abs(lowpass(np.abs(top), 60.0, 1))
    overtones = highpass(np.maximum(top, 0) * 2, from_hertz, 6)
    noise = lowpass(highpass(rng.standard_normal(len(audio)).astype(np.float32) * level, from_hertz, 6), 14000.0, 1)
    return (audio + overtones * rng.uniform(0.2, 0.8) + noise * rng.uniform(0.1, 0.5)).astype(np.float32)
