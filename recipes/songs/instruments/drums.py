"""Drums: what is struck, and samples of single strokes that play it.

Strokes are those of performances of the Groove MIDI Dataset (Gillick et al., ICML 2019), or of machine patterns.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from songs.composition.patterns import PLAIN, Patterns
from songs.composition.score import BEATS_PER_BAR, Form
from songs.mix.effects import RATE, lowpass, pan

CLASS_OF_KEY = {
    35: "kick", 36: "kick", 38: "snare", 40: "snare", 37: "percussion", 39: "clap",
    42: "hat_closed", 22: "hat_closed", 44: "hat_closed", 46: "hat_open", 26: "hat_open",
    41: "tom", 43: "tom", 45: "tom", 47: "tom", 48: "tom", 50: "tom", 58: "tom",
    49: "crash", 52: "crash", 55: "crash", 57: "crash", 51: "ride", 53: "ride", 59: "ride",
    54: "percussion", 56: "percussion", 70: "percussion", 82: "percussion", 62: "percussion", 63: "percussion",
}  # fmt: skip
"""Keys of General MIDI percussion, and of the Roland TD-11's other pads → the class of sample that plays them."""
GM_KEY = {22: 42, 26: 46, 58: 43, 82: 70}
"""Keys of the TD-11, and a shaker → the General MIDI key that a soundfont plays in their place."""
_KEY_OF = {
    "kick": 36, "snare": 38, "clap": 39, "hat_closed": 42, "hat_open": 46, "percussion": 70, "crash": 49, "tom": 45,
    "ride": 51,
}  # fmt: skip
_PANS = {  # the furthest to a side, from 0 to 1
    "kick": 0.0, "snare": 0.08, "clap": 0.1, "hat_closed": 0.35, "hat_open": 0.35, "tom": 0.5, "crash": 0.6,
    "ride": 0.5, "percussion": 0.7,
}  # fmt: skip
LEVELS = {
    "kick": 1.0, "snare": 0.8, "clap": 0.6, "hat_closed": 0.35, "hat_open": 0.35, "tom": 0.7, "crash": 0.4,
    "ride": 0.35, "percussion": 0.4,
}  # fmt: skip
"""Class → the usual peak of a stroke."""
_NAMED = {  # words in the names of the samples that suit a percussion key
    37: ("rim", "stick"), 54: ("tb", "jingle", "marac"), 56: ("cowbell",), 62: ("conga", "bongo", "quinto"),
    63: ("tumba", "darbuka"), 70: ("marac", "sh_"), 82: ("sh_", "marac", "tb"),
}  # fmt: skip


class Hit(NamedTuple):
    """One drum stroke: beat, MIDI key (General MIDI or TD-11), velocity from 1 to 127."""

    beat: float
    key: int
    velocity: int


class Take(NamedTuple):
    """One performance of the dataset; the tempo is in quarter notes per minute."""

    path: Path
    style: str
    tempo: float
    fill: bool
    """Whether it is the end of a phrase instead of a groove that goes on."""


@dataclass(frozen=True)
class OneShots:
    """Sample files by class, such as kick or hat_open; see `CLASS_OF_KEY`."""

    files: Mapping[str, tuple[Path, ...]]


Voice = Callable[[np.random.Generator, int, OneShots], "tuple[np.ndarray, np.ndarray, Path] | None"]
"""Makes the sound of a key, loud and soft (samples,), and names its file; None if there is no sound."""


def list_takes(folder: Path, splits: Sequence[str]) -> tuple[Take, ...]:
    """Return the takes in 4/4 that `folder`/info.csv lists for the splits ('train', 'validation', 'test')."""
    with (folder / "info.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in splits and row["time_signature"] == "4-4"]
    return tuple(
        Take(folder / row["midi_filename"], row["style"].split("/")[0], float(row["bpm"]), row["beat_type"] == "fill")
        for row in rows
    )


def list_one_shots(folder: Path, prefix: str) -> OneShots:
    """Return the sample files `folder`/CLASS/`prefix`*.flac."""
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
    return OneShots({name: tuple(sorted((folder / name).glob(f"{prefix}*.flac"))) for name in classes})


def choose_take(
    rng: np.random.Generator, takes: Sequence[Take], styles: Sequence[str], tempo: float, *, fill: bool
) -> Take:
    """Draw a take near the tempo, or near half or twice the tempo, preferably of one of the styles."""
    pool = [take for take in takes if take.fill == fill] or list(takes)
    ratio = np.array([min(abs(np.log2(tempo / take.tempo) - k) + 0.3 * abs(k) for k in (-1, 0, 1)) for take in pool])
    fits = np.array([1.0 if take.style in styles else 0.05 for take in pool])
    weights = fits * np.exp(-((ratio / 0.2) ** 2)) + 1e-9
    return pool[int(rng.choice(len(pool), p=weights / weights.sum()))]


def read_take(path: Path) -> list[Hit]:
    """Return the strokes of a MIDI file, in beats."""
    import mido

    score = mido.MidiFile(path)
    hits, beat = [], 0.0
    for message in mido.merge_tracks(score.tracks):
        beat += message.time / score.ticks_per_beat
        if message.type == "note_on" and message.velocity > 0:
            hits.append(Hit(beat, message.note, message.velocity))
    return hits


def perform(
    rng: np.random.Generator, form: Form, takes: Sequence[Take], styles: Sequence[str]
) -> tuple[list[Hit], list[str]]:
    """Cut a part for the form's drum sections out of takes; return it with the names of the takes."""
    grooves = {label: choose_take(rng, takes, styles, form.tempo, fill=False) for label in "AB"}
    grooves["C"] = grooves["A"]
    hits: list[Hit] = []
    names = [take.path.name for take in grooves.values()]
    for section in form.active("drums"):
        hits += _loop(rng, read_take(grooves[section.label].path), section.start, section.beats)
        if rng.random() < 0.6 and section.beats >= 8:
            fill = choose_take(rng, takes, styles, form.tempo, fill=True)
            names.append(fill.path.name)
            hits = _with_fill(hits, read_take(fill.path), section.start + section.beats)
        if rng.random() < 0.5:
            hits.append(Hit(section.start, int(rng.choice([49, 57])), int(rng.integers(90, 120))))
    return sorted(hits), sorted(set(names))


def _loop(rng: np.random.Generator, take: list[Hit], start: float, beats: float) -> list[Hit]:
    """Return a take from some bar on, repeated to fill `beats` from `start` on."""
    bars = max(1, round(max((hit.beat for hit in take), default=0.0) / BEATS_PER_BAR))
    first = int(rng.integers(max(1, bars - int(beats // BEATS_PER_BAR) + 1))) * BEATS_PER_BAR
    period = (bars * BEATS_PER_BAR) - first
    cut = [hit._replace(beat=hit.beat - first) for hit in take if first - 0.06 <= hit.beat < first + period - 0.06]
    laps = range(int(np.ceil(beats / period)))
    moved = (hit._replace(beat=start + lap * period + hit.beat) for lap in laps for hit in cut)
    return [hit for hit in moved if hit.beat < start + beats - 0.06]


def _with_fill(hits: list[Hit], fill: list[Hit], end: float) -> list[Hit]:
    """Replace what is struck before the beat `end` by a fill of a bar at most."""
    length = min(BEATS_PER_BAR, max(1.0, np.ceil(max((h.beat for h in fill), default=0.0))))
    kept = [hit for hit in hits if not end - length - 0.06 <= hit.beat < end]
    return kept + [hit._replace(beat=end - length + hit.beat) for hit in fill if hit.beat < length - 0.06]


def programmed(rng: np.random.Generator, form: Form, patterns: Patterns = PLAIN) -> list[Hit]:
    """Compose a drum machine's part: patterns of one bar, with others in some of the fourth bars."""
    rows = {name: str(rng.choice(options)) for name, options in patterns.items()}
    varied = {name: str(rng.choice(options)) for name, options in patterns.items()}
    hits: list[Hit] = []
    for section in form.active("drums"):
        dropped = {name for name in rows if name not in ("kick",) and rng.random() < 0.15}
        for bar in range(int(section.beats // BEATS_PER_BAR)):
            pattern = varied if bar % 4 == 3 and rng.random() < 0.4 else rows
            start = section.start + bar * BEATS_PER_BAR
            hits += [_step(rng, form, start, 16 * i / len(row), name, c) for name, row in pattern.items()
                     if name not in dropped for i, c in enumerate(row) if c != "."]  # fmt: skip
        if rng.random() < 0.5:
            hits.append(Hit(section.start, 49, 100))
    return sorted(hits)


def _step(rng: np.random.Generator, form: Form, start: float, index: float, name: str, loudness: str) -> Hit:
    """Return the stroke at a sixteenth `index` of the bar at beat `start`; even ones and those between do not swing."""
    late = form.swing * 0.08 if index % 2 == 1 else 0.0
    return Hit(start + index / 4 + late, _KEY_OF[name], int(np.clip(int(loudness) * 13 + rng.normal(0, 4), 1, 127)))


def with_percussion(rng: np.random.Generator, form: Form, hits: list[Hit]) -> list[Hit]:
    """Add a shaker, tambourine or the like that plays one pattern throughout the drum sections."""
    row, key = str(rng.choice(PLAIN["percussion"][1:])), int(rng.choice([54, 70, 82, 62]))
    added = [_step(rng, form, section.start + bar * BEATS_PER_BAR, i, "percussion", c)._replace(key=key)
             for section in form.active("drums") for bar in range(int(section.beats // BEATS_PER_BAR))
             for i, c in enumerate(row) if c != "."]  # fmt: skip
    return sorted(hits + added)


def kick_beats(hits: Sequence[Hit]) -> list[float]:
    """Return the beats of the kick drum, for a bass that follows it."""
    return [hit.beat for hit in hits if CLASS_OF_KEY.get(hit.key) == "kick" and hit.velocity > 40]


def sample_voice(rng: np.random.Generator, key: int, shots: OneShots) -> tuple[np.ndarray, np.ndarray, Path] | None:
    """Draw a sample for a key, as a `Voice`."""
    files = shots.files.get(CLASS_OF_KEY.get(key, ""), ())
    if not files:
        return None
    named = [path for path in files if any(word in path.name.lower() for word in _NAMED.get(key, ()))] or files
    path = named[int(rng.integers(len(named)))]
    sound = read_mono(path) * np.float32(LEVELS[CLASS_OF_KEY[key]] * 10 ** (rng.normal(0, 2) / 20))
    sound = _retune(sound, float(2 ** (rng.normal(0, 1.5) / 12)))
    return sound, lowpass(sound, 6000.0, 1), path


def short_kicks(voice: Voice) -> Voice:
    """Return a voice whose kick drums fade out within 0.25 s, so that they leave the sub-bass to the bass."""

    def made(rng: np.random.Generator, key: int, shots: OneShots) -> tuple[np.ndarray, np.ndarray, Path] | None:
        sound = voice(rng, key, shots)
        if sound is None or CLASS_OF_KEY.get(key) != "kick":
            return sound
        fade = np.clip((0.25 - np.arange(len(sound[0])) / RATE) / 0.15, 0, 1).astype(np.float32) ** 2
        return sound[0] * fade, sound[1] * fade, sound[2]

    return made


def strike(
    rng: np.random.Generator,
    form: Form,
    hits: Sequence[Hit],
    shots: OneShots,
    seconds: float,
    voice: Voice = sample_voice,
) -> tuple[np.ndarray, list[str]]:
    """Play strokes with one sample per key.

    A stroke's loudness follows its velocity, and soft strokes are duller.

    Args:
        rng: The source of all choices.
        form: Gives the strokes' times.
        hits: The strokes.
        shots: The samples.
        seconds: Length of the song.
        voice: Makes the sound of a key.

    Returns:
        Float32 (2, samples), and the names of the samples.
    """
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    voices = {key: voice(rng, key, shots) for key in sorted({hit.key for hit in hits})}
    spread = float(rng.uniform(0, 1))
    places = {name: width * spread * float(rng.choice([-1, 1])) for name, width in _PANS.items()}
    hats = sorted(form.seconds(h.beat) for h in hits if CLASS_OF_KEY.get(h.key) == "hat_closed")
    for hit in hits:
        name = CLASS_OF_KEY.get(hit.key)
        sample = voices[hit.key]
        if name is None or sample is None:
            continue
        start = max(form.seconds(hit.beat), 0.0)
        sound = sample[0 if hit.velocity > 60 else 1] * np.float32((hit.velocity / 127) ** 1.5)
        if name == "hat_open":
            sound = choke(sound, start, hats)
        _add(audio, pan(sound, places[name]), round(start * RATE))
    return audio, sorted({v[2].name for v in voices.values() if v is not None})


def read_mono(path: Path) -> np.ndarray:
    """Read a file as float32 (samples,) at 44.1 kHz."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = audio.mean(1)
    if rate != RATE:
        import soxr

        mono = soxr.resample(mono, rate, RATE)
    return np.asarray(mono, np.float32)


def _retune(sound: np.ndarray, ratio: float) -> np.ndarray:
    """Play a sound `ratio` times as fast."""
    if not len(sound):
        return sound
    return np.asarray(np.interp(np.arange(0, len(sound) - 1, ratio), np.arange(len(sound)), sound), np.float32)


def choke(sound: np.ndarray, start: float, hats: Sequence[float]) -> np.ndarray:
    """End an open hi-hat struck at `start` (s) where the next closed one is struck."""
    following = next((t for t in hats if t > start + 0.02), None)
    if following is None:
        return sound
    fade = np.clip(1 - (np.arange(len(sound)) / RATE - (following - start)) / 0.02, 0, 1)
    choked: np.ndarray = sound * fade.astype(np.float32)
    return choked


def _add(audio: np.ndarray, sound: np.ndarray, start: int) -> None:
    """Add (2, n) to `audio` from sample `start` on; what lies past the end is left out."""
    end = min(start + sound.shape[1], audio.shape[1])
    if end > start:
        audio[:, start:end] += sound[:, : end - start]
