"""Sounds between the sections of a song, and under it: risers, sweeps, impacts, reversed cymbals, an old record.

All of them belong to the stem other. Sub-drops are left out, because nobody agrees on whether they are bass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from songs.mix.effects import RATE, highpass, lowpass, pan
from songs.mix.spectral import swept

Ornament = Callable[[np.random.Generator, Sequence[float], float, float], np.ndarray]
"""Makes (2, samples): from the times (s) at which sections begin, and the lengths of the song and a beat in seconds."""


def _lay(audio: np.ndarray, sound: np.ndarray, at: float) -> None:
    """Add (2, n) to `audio` at `at` seconds; what lies before its start or past its end is left out."""
    first = round(at * RATE)
    skip = max(0, -first)
    end = min(first + sound.shape[1], audio.shape[1])
    if end > first + skip:
        audio[:, first + skip : end] += sound[:, skip : end - first]


def _noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return noise (2, samples), more or less wide."""
    sides = rng.standard_normal((2, samples)).astype(np.float32)
    width = np.float32(rng.uniform(0, 1))
    return np.stack([sides[0], width * sides[1] + (1 - width) * sides[0]])


def _moved(audio: np.ndarray, cutoff: np.ndarray, resonance: float) -> np.ndarray:
    return np.stack([swept(side, cutoff, resonance) for side in audio])


def riser(rng: np.random.Generator, times: Sequence[float], seconds: float, beat: float) -> np.ndarray:
    """Make noise, and sometimes a tone, that rises for some beats before each of the times."""
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    samples = round(beat * float(rng.choice([4, 8, 8, 16])) * RATE)
    along = np.linspace(0, 1, samples, dtype=np.float32)
    sound = _moved(_noise(rng, samples), 300 * 40**along, float(rng.uniform(0.7, 3)))
    if rng.random() < 0.5:
        hertz = 440 * 2 ** (rng.uniform(-2, 0) + rng.uniform(1, 3) * along)
        tone = np.sin(2 * np.pi * np.cumsum(hertz) / RATE).astype(np.float32)
        sound = 0.5 * sound + np.float32(rng.uniform(0.2, 0.8)) * tone
    sound = highpass(sound * along**2, 200.0) * np.float32(0.25)
    for time in times:
        _lay(audio, sound, time - samples / RATE)
    return audio


def sweep(rng: np.random.Generator, times: Sequence[float], seconds: float, beat: float) -> np.ndarray:
    """Make noise that falls for some beats after each of the times."""
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    samples = round(beat * float(rng.choice([4, 8])) * RATE)
    along = np.linspace(0, 1, samples, dtype=np.float32)
    sound = _moved(_noise(rng, samples), 12000 * (1 / 40) ** along, 0.9) * (1 - along) ** 1.5
    for time in times:
        _lay(audio, highpass(sound, 200.0) * np.float32(0.2), time)
    return audio


def impact(rng: np.random.Generator, times: Sequence[float], seconds: float, beat: float) -> np.ndarray:
    """Make a dull crash with a long tail at each of the times."""
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    time = np.arange(round(3.0 * RATE)) / RATE
    noise = _noise(rng, len(time)) * np.exp(-time / rng.uniform(0.3, 1.0)).astype(np.float32)
    dull = highpass(lowpass(noise, float(rng.uniform(400, 3000))), 90.0)
    for at in times:
        _lay(audio, dull * np.float32(rng.uniform(0.3, 0.8)), at)
    return audio


def reverse(rng: np.random.Generator, times: Sequence[float], seconds: float, beat: float) -> np.ndarray:
    """Make a cymbal played backwards that ends at each of the times."""
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    time = np.arange(round(beat * float(rng.choice([2, 4])) * RATE)) / RATE
    swell = _noise(rng, len(time)) * np.exp(-time / rng.uniform(0.2, 0.6)).astype(np.float32)
    sound = highpass(swell[:, ::-1].copy(), float(rng.uniform(2000, 5000))) * np.float32(0.3)
    for at in times:
        _lay(audio, sound, at - len(time) / RATE)
    return audio


def vinyl(rng: np.random.Generator, times: Sequence[float], seconds: float, beat: float) -> np.ndarray:
    """Make the crackle and hiss of an old record, throughout."""
    samples = round(seconds * RATE)
    audio = lowpass(_noise(rng, samples) * np.float32(0.006), float(rng.uniform(2000, 9000)))
    clicks = np.zeros(samples, np.float32)
    count = rng.poisson(seconds * rng.uniform(2, 25))
    clicks[rng.integers(0, samples, count)] = rng.normal(0, 1, count) * np.exp(rng.normal(-2.2, 0.8, count))
    audio += pan(highpass(lowpass(clicks, float(rng.uniform(3000, 9000))), 400.0), float(rng.uniform(-0.5, 0.5)))
    return np.asarray(audio * rng.uniform(0.4, 1.5), np.float32)


ORNAMENTS: Mapping[str, Ornament] = {
    "riser": riser, "sweep": sweep, "impact": impact, "reverse": reverse, "vinyl": vinyl,
}  # fmt: skip
"""Name → an ornament."""
