"""The demo song: composed, played and sung by a program, with its exact stems and melody.

It uses no soundfont, no recording and no model. So the song may be used for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemsplit.demo.instruments import (
    RATE,
    Array,
    build_kit,
    electric_piano,
    high_pass,
    picked_bass,
    reverberated,
    shaped,
    synth_bass,
    tune_guitar,
    tune_pad,
)
from stemsplit.demo.song import Note, Score, compose
from stemsplit.demo.voice import FRAME, draw_singer, sing
from stemsplit.errors import OutputError

STEMS = ("drums", "bass", "other", "vocals")
LEVELS_DB = {"drums": -18.0, "bass": -20.0, "other": -22.0, "vocals": -17.5}  # RMS where the stem is not silent
PEAK = 0.85
HOP_MS = 10
HOP_SAMPLES = RATE * HOP_MS // 1000
PANS = {"tom_high": -0.4, "tom_low": 0.4, "hat": 0.3, "hat_open": 0.3, "crash": -0.35}


@dataclass(frozen=True)
class DemoSong:
    """A rendered song."""

    stems: dict[str, Array]  # name → float32 (2, samples); their sum is the mixture
    f0_hz: Array  # float32 (frames,): the sung pitch at frame · 10 ms; 0 where nothing is voiced
    tempo_bpm: float
    seed: int
    sample_rate: int = RATE
    hop_ms: int = HOP_MS

    @property
    def mixture(self) -> Array:
        """The sum of all stems, float32 (2, samples)."""
        return np.asarray(np.stack([self.stems[name] for name in STEMS]).sum(axis=0))


def synthesize_demo_song(seconds: float = 20, seed: int = 0) -> DemoSong:
    """Compose and render a pop song of `seconds` at 44.1 kHz. Each seed gives another song, band and singer.

    Raises: ValueError unless `seconds` is a positive number.
    """
    samples = round(seconds * RATE) if np.isfinite(seconds) else 0
    if samples < 1:
        raise ValueError(f"a song needs a positive length, not {seconds} seconds")
    rng = np.random.default_rng(seed)
    singer = draw_singer(rng)
    score = compose(seconds, singer.centre, rng)
    vocal = sing(score.melody, samples, singer, rng)
    stems = {
        "drums": play_drums(score, samples, rng),
        "bass": play_bass(score, samples, rng),
        "other": play_other(score, samples, rng),
        "vocals": in_the_studio(vocal.sound, score.plan.tempo_bpm, rng),
    }
    f0_hz = vocal.f0_hz[:: HOP_SAMPLES // FRAME][: samples // HOP_SAMPLES + 1]
    return DemoSong(mixed(stems), f0_hz.astype(np.float32), score.plan.tempo_bpm, seed)


def write_demo_song(path: Path, *, seconds: float = 20, seed: int = 0) -> DemoSong:
    """Render a song and write its mixture to `path` as 24-bit WAV. Raises: OutputError."""
    song = synthesize_demo_song(seconds, seed)
    _write_wav(path, song.mixture)
    return song


COMMENT = "a song of stemsplit demo"
"""What a demo song has in its header, so that no other file is taken for one."""


def is_demo_song(path: Path) -> bool:
    """Return whether a file is a song that `write_demo_song` wrote."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment) == COMMENT
    except (OSError, soundfile.LibsndfileError):
        return False


def _write_wav(path: Path, sound: Array) -> None:
    import soundfile

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(path, "w", RATE, len(sound), "PCM_24", format="WAV") as file:
            file.comment = COMMENT
            file.write(sound.T)
    except (OSError, soundfile.LibsndfileError) as error:
        raise OutputError(f"cannot write the demo song to {path}: {error}") from error


# --- the band


def play_drums(score: Score, samples: int, rng: np.random.Generator) -> Array:
    """Play the drum kit in a small room: (2, samples)."""
    kit = build_kit(rng)
    track = np.zeros((2, samples))
    for stroke, hit in enumerate(score.drums):
        place(track, kit.play(hit, stroke), hit.start, PANS.get(hit.drum, 0.0))
    track = reverberated(track, 0.5, 0.12, rng)
    loud = np.abs(track).max() + 1e-9
    compressed: Array = np.tanh(2 * track / loud)  # like a compressor: the loudest strokes become softer
    return compressed


def play_bass(score: Score, samples: int, rng: np.random.Generator) -> Array:
    """Play a plucked or a synthesised bass, in the middle: (2, samples)."""
    player = (picked_bass, synth_bass)[rng.integers(2)]
    return played_notes(score.bass, lambda note: player(note, rng), samples, pan=0.0)


def play_other(score: Score, samples: int, rng: np.random.Generator) -> Array:
    """Play an electric piano on one side, a guitar on the other and a stereo pad, all in a hall: (2, samples)."""
    side = float(rng.choice([-1, 1])) * rng.uniform(0.2, 0.5)
    parts = (
        played_notes(score.keys, electric_piano, samples, pan=side),
        played_notes(score.guitar, tune_guitar(score.guitar, rng).play, samples, pan=-side),
        played_notes(score.pad, tune_pad(score.pad, rng).play, samples, pan=0.0),
    )
    levels = rng.uniform([0.7, 0.7, 0.25], [1.1, 1.1, 0.6])
    track = sum((level * at_level(part, -20.0) for level, part in zip(levels, parts, strict=True)), np.zeros(1))
    return reverberated(track, 1.6, 0.2, rng)


def in_the_studio(voice: Array, tempo_bpm: float, rng: np.random.Generator) -> Array:
    """Process the voice: in the middle, brighter, with an echo after an eighth note and reverberation: (2, samples)."""
    voice = shaped(voice, lambda f: 1 + 1.6 * high_pass(1800)(f) + 3 * high_pass(6000)(f))
    track = np.stack([voice, voice])
    delay = round(30 / tempo_bpm * RATE)
    if delay < track.shape[1]:
        echo = track[:, :-delay].copy()
        track[0, delay:] += 0.10 * echo[0]
        track[1, delay:] += 0.06 * echo[1]
    return reverberated(track, 1.1, 0.14, rng)


def played_notes(notes: Iterable[Note], player: Callable[[Note], Array], samples: int, pan: float) -> Array:
    """Play all notes of a part, and return its track (2, samples)."""
    track = np.zeros((2, samples))
    for note in notes:
        place(track, player(note), note.start, pan)
    return track


def place(track: Array, sound: Array, start: float, pan: float) -> None:
    """Add a mono or stereo sound to a track at `start` seconds. Pan −1 is left, 1 is right, with constant power."""
    first = round(start * RATE)
    sound = sound[..., : max(0, track.shape[1] - first)]
    angle = np.pi / 4 * (1 + pan)
    sides = np.sqrt(2) * np.array([[np.cos(angle)], [np.sin(angle)]])
    track[:, first : first + sound.shape[-1]] += sides * sound


# --- the mix


def at_level(track: Array, level_db: float) -> Array:
    """Return the track scaled to an RMS of `level_db`, measured where it is not silent. Silence is left as it is."""
    blocks = track[:, : track.shape[1] // 4410 * 4410].reshape(2, -1, 4410) if track.shape[1] >= 4410 else track[None]
    power = np.mean(blocks**2, axis=(0, 2))
    sounding = power[power > 1e-3 * power.max()] if power.size else power
    if sounding.size == 0:
        return track
    scaled: Array = track * 10 ** (level_db / 20) / np.sqrt(sounding.mean())
    return scaled


def mixed(stems: dict[str, Array]) -> dict[str, Array]:
    """Return the stems as float32, balanced, faded out at the end, and scaled so that their sum peaks at `PEAK`."""
    balanced = {name: at_level(stems[name], LEVELS_DB[name]) for name in STEMS}
    samples = balanced[STEMS[0]].shape[1]
    fade = np.minimum(1, np.arange(samples, 0, -1) / (0.3 * RATE))
    peak = np.abs(sum(balanced.values()) * fade).max()
    gain = PEAK / peak if peak > 0 else 1.0
    return {name: (gain * fade * track).astype(np.float32) for name, track in balanced.items()}
