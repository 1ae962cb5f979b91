"""Computed rooms: impulse responses of noise that dies away, the treble first."""

from __future__ import annotations

import numpy as np

from songs.mix import effects
from songs.mix.effects import RATE


def synthetic_room(rng: np.random.Generator) -> np.ndarray:
    """Draw a stereo impulse response without the direct sound, float32 (2, taps): from booths to halls."""
    seconds = float(np.exp(rng.uniform(np.log(0.15), np.log(3.0))))  # to fall by 60 dB
    taps, delay = round(min(seconds, 2.5) * RATE), round(float(rng.uniform(0, 0.04)) * RATE)
    time = np.arange(taps) / RATE
    noise = rng.standard_normal((2, taps)).astype(np.float32)
    noise[1] += float(rng.uniform(0, 1.5)) * noise[0]  # narrower rooms
    dull = effects.lowpass(noise, float(rng.uniform(800, 3000)), 1)
    bright = 0.5 * (noise - dull)
    tail = dull * 10 ** (-3 * time / seconds) + bright * 10 ** (-3 * time / (seconds * rng.uniform(0.3, 0.8)))
    room: np.ndarray = np.pad(tail, ((0, 0), (delay, 0))).astype(np.float32) / np.float32(np.sqrt(taps))
    return room
