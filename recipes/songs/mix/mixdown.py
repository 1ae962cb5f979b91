"""Mixing: the tone, dynamics and room of a stem, levels between stems, and one gain for all at the end.

All of it happens before the sum, so the stems add up to the mixture exactly. Arrays are float32 (2, samples), at
44.1 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from songs.mix import effects
from songs.mix.effects import RATE
from songs.mix.rooms import synthetic_room

STEMS = ("drums", "bass", "other", "vocals")
_LEVEL_DB = {"drums": -20.0, "bass": -21.0, "other": -20.0, "vocals": -18.5}  # usual active levels
_FURTHEST_DB = 8.0  # a stem's level is at most this far from the usual one


def treat(
    rng: np.random.Generator,
    audio: np.ndarray,
    impulses: Sequence[Path],
    wet: tuple[float, float],
    drive: float,
    synthetic: float = 0.0,
) -> np.ndarray:
    """Treat a stem with shelving filters, compression, saturation, a room and limiting, each only sometimes.

    Args:
        rng: The source of all choices.
        audio: The stem.
        impulses: Recorded rooms.
        wet: The range of the room's level, relative to the stem's.
        drive: Probability of saturation.
        synthetic: Probability that a room is computed instead of recorded.
    """
    if rng.random() < 0.5:
        audio = effects.shelf(audio, float(rng.uniform(2500, 8000)), float(rng.normal(0, 2.5)), high=True)
    if rng.random() < 0.4:
        audio = effects.shelf(audio, float(rng.uniform(80, 300)), float(rng.normal(0, 2.0)), high=False)
    if rng.random() < 0.4:
        audio = effects.compress(audio, float(rng.uniform(1.5, 5)), float(rng.uniform(-20, -8)))
    if rng.random() < drive:
        audio = effects.saturate(audio, float(rng.uniform(0.3, 1.5)))
    audio = reverberate(rng, audio, impulses, wet, synthetic)
    return limit(audio, float(rng.uniform(9, 16))) if rng.random() < 0.7 else audio


def reverberate(
    rng: np.random.Generator,
    audio: np.ndarray,
    impulses: Sequence[Path],
    wet: tuple[float, float],
    synthetic: float = 0.0,
) -> np.ndarray:
    """Put a stem into a random room, as in `treat`.

    It stays dry in three of ten cases, and where there are no impulses.
    """
    if not impulses or rng.random() < 0.3:
        return audio
    if synthetic and rng.random() < synthetic:
        return effects.reverb(audio, synthetic_room(rng), float(rng.uniform(*wet)))
    impulse = read_impulse(impulses[int(rng.integers(len(impulses)))])
    return effects.reverb(audio, impulse, float(rng.uniform(*wet)))


@lru_cache(maxsize=32)
def read_impulse(path: Path, longest: float = 3.0) -> np.ndarray:
    """Read an impulse response as float32 (2, taps) at 44.1 kHz, at most `longest` seconds of it.

    Mono is doubled. Of more than two channels the first two are taken.
    """
    import soundfile
    import soxr

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True, frames=-1)
    audio = audio[: round(longest * rate), :2]
    audio = audio if audio.shape[1] == 2 else np.repeat(audio, 2, axis=1)
    audio = audio if rate == RATE else soxr.resample(audio, rate, RATE)
    return np.ascontiguousarray(audio.T, np.float32)


def active_level(audio: np.ndarray) -> float:
    """Return the RMS over those blocks of 100 ms that are within 30 dB of the loudest; 0 for silence."""
    power = np.mean(audio.astype(np.float64) ** 2, axis=0)
    blocks = np.add.reduceat(power, np.arange(0, len(power), RATE // 10)) / (RATE // 10) if len(power) else power
    loud = blocks[blocks > blocks.max(initial=0.0) * 1e-3]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0


def at_level(audio: np.ndarray, decibels: float) -> np.ndarray:
    """Bring audio to an active level in dB relative to full scale; silence stays silence."""
    level = active_level(audio)
    return audio if level < 1e-7 else (audio * np.float32(10 ** (decibels / 20) / level)).astype(np.float32)


def limit(audio: np.ndarray, crest_db: float) -> np.ndarray:
    """Round off what exceeds the active level by `crest_db`, as in mastered music; quieter samples stay as they are."""
    ceiling = np.float32(active_level(audio) * 10 ** (crest_db / 20))
    if ceiling <= 0:
        return audio
    size = np.abs(audio)
    rounded = ceiling * (0.7 + 0.3 * np.tanh((size / ceiling - 0.7) / 0.3))
    return np.where(size > 0.7 * ceiling, np.sign(audio) * rounded, audio).astype(np.float32)


def balance_stems(
    rng: np.random.Generator, stems: Mapping[str, np.ndarray], bass_db: float = 0.0
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Bring stems to random levels within ±8 dB of the usual, then scale all alike; `bass_db` goes to the bass on top.

    Their sum does not exceed 0.9 then, and none of them 0.99.

    Returns:
        The stems, and their gains in dB before the common scale.
    """
    gains = {name: float(np.clip(rng.normal(0, 3.0), -_FURTHEST_DB, _FURTHEST_DB)) for name in STEMS}
    gains["bass"] += bass_db
    mixed = {name: at_level(stems[name], _LEVEL_DB[name] + gains[name]) for name in STEMS}
    total = float(np.abs(np.sum(list(mixed.values()), axis=0)).max(initial=1e-9))
    loudest = max(float(np.abs(stem).max(initial=1e-9)) for stem in mixed.values())
    scale = np.float32(min(float(rng.uniform(0.4, 0.9)) / total, 0.99 / loudest))
    return {name: stem * scale for name, stem in mixed.items()}, {name: round(gain, 2) for name, gain in gains.items()}
