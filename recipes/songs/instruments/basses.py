"""Synthesised basses: one voice that glides, with the sounds of club music and hip-hop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from songs.instruments.leads import glided, loudness, saw_along, sub_bass
from songs.instruments.synths import Event
from songs.mix.effects import RATE, highpass, lowpass, saturate
from songs.mix.spectral import swept

Bass = Callable[[np.random.Generator, Sequence[Event], float, float], np.ndarray]
"""Plays notes in order of time: (2, samples). The numbers are the length of the song and of a beat in seconds."""


def hertz_of(pitch: np.ndarray | float) -> np.ndarray:
    """Return the frequency of MIDI pitches."""
    return np.asarray(440 * 2 ** ((np.asarray(pitch) - 69) / 12))


def _phase(pitch: np.ndarray) -> np.ndarray:
    """Return the phase (samples,) in radians of a line with that MIDI pitch."""
    return np.asarray(2 * np.pi * np.cumsum(hertz_of(pitch)) / RATE)


def since(events: Sequence[Event], samples: int) -> np.ndarray:
    """Return how long ago the latest note began, (samples,) in seconds; 60 before the first."""
    ago = np.full(samples, 60.0, np.float32)
    starts = [min(round(event[0] * RATE), samples) for event in events]
    for first, end in zip(starts, [*starts[1:], samples][: len(starts)], strict=True):
        ago[first:end] = np.arange(max(end - first, 0), dtype=np.float32) / RATE
    return ago


def _log_between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _wide(rng: np.random.Generator, low: np.ndarray, high: np.ndarray, furthest: float) -> np.ndarray:
    """Put `low` (samples,) in the middle, and `high` to both sides with a short delay: (2, samples)."""
    late = round(float(rng.uniform(0.004, 0.015)) * RATE)
    amount = np.float32(rng.uniform(0, furthest))
    other = np.pad(high, (late, 0))[: len(high)] * amount
    return np.stack([low + high + other, low + high - other])


def sub(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play a sine or a dull triangle, without much above 200 Hz."""
    samples = round(seconds * RATE)
    phase = _phase(glided(events, samples, float(rng.choice([0.004, 0.02, 0.08]))))
    wave = np.sin(phase) + rng.uniform(0, 0.25) * np.sin(2 * phase) - rng.uniform(0, 0.11) * np.sin(3 * phase)
    level = loudness(events, samples, 0.005, float(rng.uniform(0.02, 0.15)))
    sound = lowpass((wave * level).astype(np.float32), _log_between(rng, 150, 800))
    return np.stack([sound, sound])


def eight_o_eight(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play a long falling sine as of a TR-808, tuned: it dies away, slides to some notes, and is distorted.

    Its attack is part of the bass.
    """
    samples = round(seconds * RATE)
    pitch = glided(events, samples, float(rng.choice([0.003, 0.05, 0.12, 0.2])))
    ago = since(events, samples)
    fall = rng.uniform(3, 24) * np.exp(-ago / _log_between(rng, 0.006, 0.03))
    level = np.exp(-ago / _log_between(rng, 0.3, 2.0)) * np.minimum(ago / 0.002, 1)
    gate = loudness(events, samples, 0.002, float(rng.uniform(0.05, 0.5)))
    ring = (ago < 59.0) if rng.random() < 0.5 else gate  # some ring on until the next note
    sound = (np.sin(_phase(pitch + fall)) * level * ring).astype(np.float32)
    sound = saturate(sound, _log_between(rng, 0.4, 14))
    sound = lowpass(sound, _log_between(rng, 250, 5000))
    return highpass(np.stack([sound, sound]), 22.0)


def reese(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play saws out of tune, whose beating moves through a low-pass, over a sine an octave below or at their pitch."""
    samples = round(seconds * RATE)
    pitch = glided(events, samples, float(rng.choice([0.004, 0.06])))
    apart = float(rng.uniform(0.08, 0.45))
    saws = sum((saw_along(pitch + shift) for shift in (-apart, 0.0, apart)), np.zeros(samples, np.float32)) / 3
    time = np.arange(samples) / RATE
    swing = 1 + rng.uniform(0, 0.8) * np.sin(2 * np.pi * time / (beat * float(rng.choice([4, 8, 16]))))
    level = loudness(events, samples, 0.006, float(rng.uniform(0.03, 0.2)))
    high = swept(saws * level, _log_between(rng, 250, 2500) * swing, float(rng.uniform(0.7, 2)))
    high = highpass(saturate(high, _log_between(rng, 0.5, 8)), 100.0)
    low = (np.sin(_phase(pitch)) * level * rng.uniform(0.4, 1.0)).astype(np.float32)
    return _wide(rng, low, high, 0.6)


def fm(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play a sine whose phase another one moves, the more the nearer a note's start (J. Chowning, JAES 21(7), 1973)."""
    samples = round(seconds * RATE)
    phase, ago = _phase(glided(events, samples, 0.004)), since(events, samples)
    ratio, depth = float(rng.choice([0.5, 1, 1, 2, 3, 1.01])), float(rng.uniform(0.5, 6))
    index = depth * (rng.uniform(0.05, 0.6) + np.exp(-ago / _log_between(rng, 0.03, 0.6)))
    level = loudness(events, samples, 0.003, float(rng.uniform(0.02, 0.15)))
    wave = np.sin(phase + index * np.sin(ratio * phase)) + rng.uniform(0, 0.6) * np.sin(phase)
    sound = lowpass((wave * level).astype(np.float32), _log_between(rng, 800, 6000))
    return np.stack([sound, sound])


def acid(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play a saw or square through a low-pass with a strong peak, as a TB-303: some notes slide, some are accented."""
    samples = round(seconds * RATE)
    octave = 12 * (rng.random(len(events)) < rng.uniform(0, 0.3))
    line = [(start, length, key + int(up), velocity) for (start, length, key, velocity), up
            in zip(events, octave, strict=True)]  # fmt: skip
    pitch = glided(line, samples, float(rng.choice([0.004, 0.06])))
    wave = saw_along(pitch)
    if rng.random() < 0.4:  # a square is a saw less another, half a turn later
        wave = wave - saw_along(pitch + 12.0) * np.float32(0.5)
    accent = np.zeros(samples, np.float32)
    for start, length, _, velocity in line:
        accent[round(start * RATE) : round((start + length) * RATE)] = velocity / 127
    ago, time = since(line, samples), np.arange(samples) / RATE
    turn = 1 + 0.6 * np.sin(2 * np.pi * time / (beat * float(rng.choice([16, 32]))) + rng.uniform(0, 6))
    opened = np.exp(-ago / _log_between(rng, 0.05, 0.4)) * accent
    cutoff = _log_between(rng, 150, 700) * turn + _log_between(rng, 500, 4000) * opened
    level = loudness(line, samples, 0.003, 0.03)
    sound = swept(wave * level, cutoff, float(rng.uniform(2, 9)))
    sound = saturate(sound, _log_between(rng, 0.5, 10))
    return np.stack([sound, sound])


def wobble(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play saws and a square whose low-pass swings in time with the song, at another rate on every note."""
    samples = round(seconds * RATE)
    pitch = glided(events, samples, float(rng.choice([0.004, 0.1])))
    wave = saw_along(pitch) + saw_along(pitch + rng.uniform(0.05, 0.3)) + saw_along(pitch + 12.0) * np.float32(0.5)
    rate, ago = np.ones(samples, np.float32), since(events, samples)
    for start, *_ in events:
        rate[round(start * RATE) :] = float(rng.choice([1, 2, 2, 3, 4, 4, 6, 8]))
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * rate * ago / beat)
    shape = swing ** float(rng.uniform(0.7, 2.5))
    cutoff = _log_between(rng, 90, 250) * (_log_between(rng, 6, 30) ** shape)
    level = loudness(events, samples, 0.005, 0.05)
    high = swept(wave * level / 2, cutoff, float(rng.uniform(0.8, 5)))
    high = highpass(saturate(high, _log_between(rng, 1, 15)), 110.0)
    low = (np.sin(_phase(pitch)) * level * rng.uniform(0.4, 1.1)).astype(np.float32)
    return _wide(rng, low, high, 0.5)


def saturated(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play a saw or a square whose low-pass closes after each note's start, distorted."""
    samples = round(seconds * RATE)
    pitch = glided(events, samples, 0.004)
    wave = saw_along(pitch)
    if rng.random() < 0.5:
        wave = wave - saw_along(pitch + 12.0) * np.float32(0.5)
    ago = since(events, samples)
    cutoff = _log_between(rng, 120, 600) + _log_between(rng, 300, 3000) * np.exp(-ago / _log_between(rng, 0.04, 0.5))
    sound = swept(wave * loudness(events, samples, 0.004, 0.05), cutoff, float(rng.uniform(0.7, 2.5)))
    sound = saturate(sound, _log_between(rng, 0.5, 12))
    return np.stack([sound, sound])


def organ_bass(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play a few sines that start with a click and die away, as of house music's organs."""
    samples = round(seconds * RATE)
    phase, ago = _phase(glided(events, samples, 0.004)), since(events, samples)
    tones = sum(gain * np.sin(k * phase) for k, gain in ((1, 1.0), (2, rng.uniform(0.1, 0.8)), (3, 0.3), (4, 0.15)))
    level = loudness(events, samples, 0.002, 0.05) * np.exp(-ago / _log_between(rng, 0.15, 0.8))
    sound = saturate((tones * level).astype(np.float32), _log_between(rng, 0.3, 3))
    return np.stack([sound, sound])


def plain_sub(rng: np.random.Generator, events: Sequence[Event], seconds: float, beat: float) -> np.ndarray:
    """Play the sub-bass of `leads`, whose pitch drops at the start of each note."""
    return sub_bass(rng, events, seconds)


BASSES: Mapping[str, Bass] = {
    "sub": sub, "808": eight_o_eight, "reese": reese, "fm": fm, "acid": acid, "wobble": wobble,
    "saturated": saturated, "organ bass": organ_bass, "dropped sub": plain_sub,
}  # fmt: skip
"""Name → a bass."""
DEEP = ("sub", "808", "dropped sub")
"""Basses that have most of their energy below 100 Hz."""
