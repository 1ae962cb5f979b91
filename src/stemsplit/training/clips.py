"""Recorded singing as a vocal stem: MIR-1K clips, put into the vocal sections of a song and into its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from stemsplit.training.effects import RATE, highpass, lowpass
from stemsplit.training.score import Form


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


def place_clips(rng: np.random.Generator, form: Form, clips: Clips, seconds: float) -> tuple[np.ndarray, list[str]]:
    """Clips of one singer's song one after another in the vocal sections: (samples,) at 44.1 kHz, and their names."""
    names = sorted(clips.songs)
    song = clips.songs[names[int(rng.integers(len(names)))]]
    audio = np.zeros(round(seconds * RATE), np.float32)
    used, at = [], int(rng.integers(len(song)))
    melody = np.concatenate([clips.melodies.get(_name(path), np.zeros(1)) for path in song])
    shift = best_shift(melody, form.scale)
    for section in form.active("vocals"):
        now, end = form.seconds(section.start), form.seconds(section.start + section.beats)
        while now < end - 1.0:
            path = song[at % len(song)]
            sound = read_clip(path, shift)[: round((end - now) * RATE)]
            _lay(audio, sound, now)
            used.append(path.name)
            now += len(sound) / RATE + float(rng.choice([0.0, 0.0, 0.5, 1.5]))
            at += 1
    return extend(rng, audio), sorted(set(used))


def _name(path: Path) -> str:
    return path.name.removesuffix(".voice.opus")


def read_clip(path: Path, shift: int) -> np.ndarray:
    """A clip at 44.1 kHz, transposed by playing it faster or slower."""
    import soxr

    audio, rate = soundfile.read(path, dtype="float32")
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
