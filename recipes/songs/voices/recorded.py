"""Recorded singing as a vocal stem: MIR-1K clips, put into the vocal sections of a song and into its key."""

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
    """Voice files by song (names up to the second '_'), in order, and their melodies (MIDI per 20 ms, 0: unvoiced)."""

    songs: Mapping[str, tuple[Path, ...]]
    melodies: Mapping[str, np.ndarray]


def list_clips(folder: Path, singers: Sequence[str] | None, without: Sequence[str] = ()) -> Clips:
    """Clips of the named singers (None: all) other than `without`; the singer is the name before the first '_'."""
    songs: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.voice.opus")):
        singer, song = path.name.split("_")[:2]
        if (singers is None or singer in singers) and singer not in without:
            songs.setdefault(f"{singer}_{song}", []).append(path)
    labels = folder / "labels.npz"
    melodies = dict(np.load(labels)) if labels.exists() else {}
    return Clips({name: tuple(paths) for name, paths in songs.items()}, melodies)


def best_shift(melody: np.ndarray, scale: frozenset[int], furthest: int = 3) -> int:
    """The transposition in semitones within ±`furthest` that puts most of a melody into a scale (least one wins)."""
    notes = np.round(melody[melody > 0]).astype(int)
    inside = {shift: np.isin((notes + shift) % 12, list(scale)).mean() if len(notes) else 0.0
              for shift in range(-furthest, furthest + 1)}  # fmt: skip
    return max(inside, key=lambda shift: (round(float(inside[shift]), 2), -abs(shift)))


class Placement(NamedTuple):
    """A clip's samples (44.1 kHz, mono) and where they start in the song, in seconds."""

    path: Path
    start: float
    sound: np.ndarray


def place_clips(rng: np.random.Generator, form: Form, clips: Clips, seconds: float) -> tuple[np.ndarray, list[str]]:
    """Clips of one singer's song one after another in the vocal sections: (samples,) at 44.1 kHz, and their names."""
    song = choose_song(rng, clips)
    shift = best_shift(melody_of(clips, song), form.scale)
    placements = plan_clips(rng, form, song, lambda path: read_clip(path, shift))
    return extend(rng, lay_clips(placements, seconds)), used_names(placements)


def choose_song(rng: np.random.Generator, clips: Clips) -> tuple[Path, ...]:
    """One song of one singer, drawn evenly."""
    names = sorted(clips.songs)
    return clips.songs[names[int(rng.integers(len(names)))]]


def melody_of(clips: Clips, song: Sequence[Path]) -> np.ndarray:
    """MIDI per 20 ms of a song's clips end to end, 0: unvoiced."""
    return np.concatenate([clips.melodies.get(_name(path), np.zeros(1)) for path in song])


def plan_clips(
    rng: np.random.Generator, form: Form, song: Sequence[Path], read: Callable[[Path], np.ndarray]
) -> list[Placement]:
    """A song's clips one after another in the vocal sections, from a random one on, with short rests between."""
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
    """The clips as (samples,) at 44.1 kHz, all `late` seconds later and `cents` higher, as another of a choir sings."""
    audio = np.zeros(round(seconds * RATE), np.float32)
    for placement in placements:
        sound = placement.sound
        if cents:
            steps = np.arange(0, len(sound) - 1, 2 ** (cents / 1200))
            sound = np.interp(steps, np.arange(len(sound)), sound).astype(np.float32)
        _lay(audio, sound, placement.start + late)
    return audio


def used_names(placements: Sequence[Placement]) -> list[str]:
    """The files' names, each once."""
    return sorted({placement.path.name for placement in placements})


def _name(path: Path) -> str:
    return path.name.removesuffix(".voice.opus")


def read_clip(path: Path, shift: int, change: Callable[[np.ndarray, int], np.ndarray] | None = None) -> np.ndarray:
    """A clip at 44.1 kHz, transposed by playing it faster or slower; `change` may alter (samples,) at a rate first."""
    import soxr

    audio, rate = soundfile.read(path, dtype="float32")
    audio = audio if change is None else change(audio, rate)
    return np.asarray(soxr.resample(audio, rate * 2 ** (shift / 12), RATE), np.float32)


def _lay(audio: np.ndarray, sound: np.ndarray, start: float) -> None:
    first = round(start * RATE)
    sound = sound[: max(0, len(audio) - first)].copy()
    fade = min(len(sound), round(0.02 * RATE))
    if fade:
        sound[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        sound[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    audio[first : first + len(sound)] += sound


def extend(rng: np.random.Generator, audio: np.ndarray, from_hertz: float = 7000.0) -> np.ndarray:
    """Give a voice recorded at 16 kHz the upper octave it lacks: overtones of its own top, and shaped noise.

    Without it a network could learn that nothing above 8 kHz is ever sung.
    """
    top = highpass(audio, from_hertz / 2, 4)
    level = np.abs(lowpass(np.abs(top), 60.0, 1))
    overtones = highpass(np.maximum(top, 0) * 2, from_hertz, 6)
    noise = lowpass(highpass(rng.standard_normal(len(audio)).astype(np.float32) * level, from_hertz, 6), 14000.0, 1)
    return (audio + overtones * rng.uniform(0.2, 0.8) + noise * rng.uniform(0.1, 0.5)).astype(np.float32)
