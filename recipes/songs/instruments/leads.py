"""Synthesizers that glide from note to note: leads, and long sub-basses. Their saws are those of `synths`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.instruments.synths import Event, blep
from songs.mix.effects import RATE, highpass, lowpass, saturate


def glided(events: Sequence[Event], samples: int, glide: float) -> np.ndarray:
    """Return the MIDI pitch (samples,) of a line in order of time.

    Each note is reached from the one before within `glide` seconds.
    """
    pitch = np.full(samples, float(events[0][2]) if events else 60.0)
    length, before = max(1, round(glide * RATE)), float(pitch[0]) if samples else 60.0
    ends = [*(round(event[0] * RATE) for event in events[1:]), samples][: len(events)]
    for (start, _, key, _), end in zip(events, ends, strict=True):
        part = pitch[round(start * RATE) : end]
        ease = 0.5 - 0.5 * np.cos(np.pi * np.arange(min(length, len(part))) / length)
        part[: len(ease)] = before + (key - before) * ease
        part[len(ease) :] = key
        before = float(part[-1]) if len(part) else before
    return pitch


def loudness(events: Sequence[Event], samples: int, attack: float, release: float) -> np.ndarray:
    """Return the envelope (samples,) of a line: that of the loudest note that sounds. Times are in seconds."""
    level = np.zeros(samples, np.float32)
    for start, duration, _, velocity in events:
        first, held = round(start * RATE), round(duration * RATE)
        time = np.arange(min(held + round(release * RATE), max(samples - first, 0))) / RATE
        shape = np.minimum(time / attack, 1) * np.clip(1 - (time - duration) / release, 0, 1) * velocity / 127
        part = level[first : first + len(time)]
        part[:] = np.maximum(part, shape)
    return level


def saw_along(pitch: np.ndarray) -> np.ndarray:
    """Return a band-limited sawtooth (samples,) whose MIDI pitch may change with every sample."""
    step = 440 * 2 ** ((pitch - 69) / 12) / RATE
    turn = np.cumsum(step) % 1.0
    return np.asarray(2 * turn - 1 - blep(turn, step), np.float32)


def synth_lead(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play a line, one note at a time, with glides and vibrato like a voice's; return (2, samples)."""
    samples = round(seconds * RATE)
    pitch = glided(events, samples, float(np.exp(rng.uniform(np.log(0.005), np.log(0.15)))))
    time = np.arange(samples) / RATE
    pitch = pitch + rng.uniform(0, 0.5) * np.sin(2 * np.pi * rng.uniform(4.5, 7) * time)
    wave = saw_along(pitch)
    shape = int(rng.integers(4))  # 0: the saw as it is
    if shape == 1:  # a second one, detuned
        wave = 0.5 * (wave + saw_along(pitch + rng.uniform(0.05, 0.2)))
    elif shape == 2:  # hollow, like a square
        wave = wave - saw_along(pitch + 12.0) * 0.5
    elif shape == 3:  # a sine: flutes, whistles, theremins
        wave = np.sin(2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / RATE).astype(np.float32)
    level = loudness(events, samples, float(rng.uniform(0.005, 0.12)), float(rng.uniform(0.03, 0.3)))
    sound = lowpass(wave * level, float(rng.uniform(1200, 9000)))
    sound = saturate(sound, float(rng.uniform(1, 8))) if rng.random() < 0.3 else sound
    return np.stack([sound, sound])


def sub_bass(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play a line with a sine that slides between notes; return (2, samples).

    Its pitch drops at the start of each note, and it is distorted a little.
    """
    samples = round(seconds * RATE)
    pitch = glided(events, samples, float(rng.choice([0.005, 0.03, 0.12])))
    drop = np.zeros(samples)
    for start, *_ in events:
        part = drop[round(start * RATE) : round((start + 0.2) * RATE)]
        part[:] = np.maximum(part, rng.uniform(4, 20) * np.exp(-np.arange(len(part)) / (0.02 * RATE)))
    wave = np.sin(2 * np.pi * np.cumsum(440 * 2 ** ((pitch + drop - 69) / 12)) / RATE)
    sound = (wave * loudness(events, samples, 0.003, float(rng.uniform(0.05, 0.4)))).astype(np.float32)
    sound = saturate(sound, float(np.exp(rng.uniform(np.log(0.3), np.log(12)))))
    sound = lowpass(sound, float(rng.uniform(300, 4000)))
    return highpass(np.stack([sound, sound]), 25.0)
