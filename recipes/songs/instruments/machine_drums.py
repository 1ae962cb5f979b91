"""Drum sounds of machines: sines that fall, noise, and metallic squares, each with random settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from songs.instruments import drums
from songs.mix import effects
from songs.mix.effects import RATE


def machine_voice(
    rng: np.random.Generator, key: int, shots: drums.OneShots
) -> tuple[np.ndarray, np.ndarray, Path] | None:
    """Return a stroke of a key, loud and soft (samples,), and a name in place of a sample's.

    It is a `drums.Voice` that uses no sample; None if the key is no drum's.
    """
    name = drums.CLASS_OF_KEY.get(key)
    if name is None:
        return None
    sound = _MAKERS[name](rng)
    level = np.float32(0.9 * drums.LEVELS[name] * 10 ** (rng.normal(0, 2) / 20))
    sound = sound / np.abs(sound).max(initial=1e-9) * level
    return sound, effects.lowpass(sound, 6000.0, 1), Path(f"machine-{name}")


def _time(seconds: float) -> np.ndarray:
    """Return the time of every sample in seconds."""
    return np.arange(round(seconds * RATE)) / RATE


def _swept(time: np.ndarray, start: float, end: float, fall: float) -> np.ndarray:
    """Return a sine whose frequency falls from `start` to `end` Hz with a time constant of `fall` seconds."""
    hertz = end + (start - end) * np.exp(-time / fall)
    return np.asarray(np.sin(2 * np.pi * np.cumsum(hertz) / RATE))


def _kick(rng: np.random.Generator) -> np.ndarray:
    """Return a falling sine with a click."""
    decay = float(np.exp(rng.uniform(np.log(0.08), np.log(0.7))))
    time = _time(min(4 * decay, 1.5))
    body = _swept(time, rng.uniform(120, 500), rng.uniform(38, 62), rng.uniform(0.01, 0.06)) * np.exp(-time / decay)
    click = rng.standard_normal(len(time)) * np.exp(-time / 0.003) * rng.uniform(0, 0.5)
    return effects.saturate((body + click).astype(np.float32), float(rng.uniform(0.3, 6)))


def _snare(rng: np.random.Generator) -> np.ndarray:
    """Return a short falling sine under noise."""
    time = _time(0.5)
    tone = _swept(time, rng.uniform(250, 420), rng.uniform(150, 240), 0.02) * np.exp(-time / rng.uniform(0.04, 0.15))
    noise = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.04, 0.2))
    bright = effects.highpass(noise.astype(np.float32), float(rng.uniform(700, 3000)))
    return np.asarray(rng.uniform(0.2, 1) * tone + bright, np.float32)


def _clap(rng: np.random.Generator) -> np.ndarray:
    """Return three bursts of noise, then one that dies away."""
    time, apart = _time(0.5), rng.uniform(0.008, 0.016)
    shape = np.exp(-np.maximum(time - 3 * apart, 0) / rng.uniform(0.05, 0.2)) * (time >= 3 * apart)
    for burst in range(3):
        shape += np.exp(-np.maximum(time - burst * apart, 0) / 0.004) * (time >= burst * apart)
    noise = effects.highpass(rng.standard_normal(len(time)).astype(np.float32), float(rng.uniform(500, 1200)))
    return effects.lowpass(noise * shape.astype(np.float32), float(rng.uniform(3000, 9000)))


def _metal(rng: np.random.Generator, decay: float, above: float) -> np.ndarray:
    """Return squares out of tune and noise, that die away in `decay` seconds; nothing is below `above` Hz."""
    time = _time(min(5 * decay, 2.5))
    root = rng.uniform(180, 500)
    ratios = np.array([1.0, 1.342, 1.2312, 1.6532, 1.9523, 2.1523]) * rng.uniform(0.95, 1.05, 6)
    squares = np.sign(np.sin(2 * np.pi * root * ratios[:, None] * time)).sum(0)
    mixed = squares * rng.uniform(0, 0.4) + rng.standard_normal(len(time)) * rng.uniform(0.3, 1)
    return effects.highpass((mixed * np.exp(-time / decay)).astype(np.float32), above, 3)


def _tom(rng: np.random.Generator) -> np.ndarray:
    """Return a falling sine."""
    time, end = _time(0.7), rng.uniform(70, 220)
    body = _swept(time, end * rng.uniform(1.2, 2), end, 0.05) * np.exp(-time / rng.uniform(0.1, 0.3))
    return np.asarray(body, np.float32)


def _percussion(rng: np.random.Generator) -> np.ndarray:
    """Return a cowbell, a shaker, or a short sine like a rim shot or a wood block."""
    kind = int(rng.integers(3))
    if kind == 0:  # cowbell
        time, root = _time(0.4), rng.uniform(400, 800)
        two = np.sign(np.sin(2 * np.pi * root * time)) + np.sign(np.sin(2 * np.pi * 1.48 * root * time))
        return effects.highpass((two * np.exp(-time / rng.uniform(0.03, 0.12))).astype(np.float32), 400.0)
    if kind == 1:  # shaker
        time = _time(0.2)
        noise = rng.standard_normal(len(time)) * np.minimum(time / 0.02, 1) * np.exp(-time / rng.uniform(0.02, 0.06))
        return effects.highpass(noise.astype(np.float32), 4000.0)
    time = _time(0.3)
    sine = np.sin(2 * np.pi * rng.uniform(500, 2500) * time)
    return np.asarray(sine * np.exp(-time / rng.uniform(0.01, 0.05)), np.float32)


_MAKERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "kick": _kick, "snare": _snare, "clap": _clap, "tom": _tom, "percussion": _percussion,
    "hat_closed": lambda rng: _metal(rng, rng.uniform(0.015, 0.06), 6000.0),
    "hat_open": lambda rng: _metal(rng, rng.uniform(0.1, 0.4), 6000.0),
    "crash": lambda rng: _metal(rng, rng.uniform(0.5, 1.2), 3000.0),
    "ride": lambda rng: _metal(rng, rng.uniform(0.3, 0.8), 5000.0),
}  # fmt: skip
