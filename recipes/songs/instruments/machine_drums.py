"""Drum sounds of machines: sines that fall, noise, and metallic squares, each with random settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
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
    return _stroke(rng, key, _MAKERS)


def machine_of(character: str) -> drums.Voice:
    """Return the `drums.Voice` of a machine: a key of `CHARACTERS`."""
    return lambda rng, key, shots: _stroke(rng, key, {**_MAKERS, **CHARACTERS[character]})


def _stroke(
    rng: np.random.Generator, key: int, makers: Mapping[str, Maker]
) -> tuple[np.ndarray, np.ndarray, Path] | None:
    name = drums.CLASS_OF_KEY.get(key)
    if name is None:
        return None
    sound = makers[name](rng)
    level = np.float32(0.9 * drums.LEVELS[name] * 10 ** (rng.normal(0, 2) / 20))
    sound = sound / np.abs(sound).max(initial=1e-9) * level
    return sound, effects.lowpass(sound, 6000.0, 1), Path(f"machine-{name}")


Maker = Callable[[np.random.Generator], np.ndarray]
"""Makes one stroke (samples,) with random settings."""


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


_MAKERS: dict[str, Maker] = {
    "kick": _kick, "snare": _snare, "clap": _clap, "tom": _tom, "percussion": _percussion,
    "hat_closed": lambda rng: _metal(rng, rng.uniform(0.015, 0.06), 6000.0),
    "hat_open": lambda rng: _metal(rng, rng.uniform(0.1, 0.4), 6000.0),
    "crash": lambda rng: _metal(rng, rng.uniform(0.5, 1.2), 3000.0),
    "ride": lambda rng: _metal(rng, rng.uniform(0.3, 0.8), 5000.0),
}  # fmt: skip


def _round_kick(rng: np.random.Generator) -> np.ndarray:
    """Return a sine that hardly falls, with a soft click, as of a TR-808; a short one, for the long one is a bass."""
    time = _time(0.5)
    body = _swept(time, rng.uniform(90, 160), rng.uniform(48, 62), 0.008) * np.exp(-time / rng.uniform(0.05, 0.12))
    click = effects.lowpass(rng.standard_normal(len(time)).astype(np.float32), 4000.0) * np.exp(-time / 0.002)
    return effects.saturate((body + rng.uniform(0.05, 0.3) * click).astype(np.float32), float(rng.uniform(0.3, 3)))


def _punchy_kick(rng: np.random.Generator) -> np.ndarray:
    """Return a sine that falls fast and far, with a hard click, as of a TR-909."""
    time = _time(0.6)
    body = _swept(time, rng.uniform(220, 400), rng.uniform(44, 60), rng.uniform(0.018, 0.04))
    body = body * np.exp(-time / rng.uniform(0.08, 0.2))
    click = effects.highpass(rng.standard_normal(len(time)).astype(np.float32), 1500.0) * np.exp(-time / 0.0015)
    return effects.saturate((body + rng.uniform(0.1, 0.5) * click).astype(np.float32), float(rng.uniform(1, 8)))


def _two_tone_snare(rng: np.random.Generator, tones: tuple[float, float], above: float) -> np.ndarray:
    """Return two sines under noise that has nothing below `above` Hz."""
    time = _time(0.4)
    tune, fall = rng.uniform(0.9, 1.15), rng.uniform(0.03, 0.09)
    body = sum(np.sin(2 * np.pi * tone * tune * time) for tone in tones) * np.exp(-time / fall)
    noise = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.05, 0.14))
    snap = effects.highpass(noise.astype(np.float32), above)
    return np.asarray(rng.uniform(0.3, 0.9) * body + rng.uniform(0.4, 1.0) * snap, np.float32)


def _six_squares(rng: np.random.Generator, decay: float, low: float) -> np.ndarray:
    """Return the six squares of a TR-808's cymbals, of which only what is above `low` Hz is heard."""
    time = _time(min(5 * decay, 2.5))
    hertz = np.array([205.3, 304.4, 369.6, 522.7, 540.0, 800.0]) * rng.uniform(0.95, 1.05)
    squares = np.sign(np.sin(2 * np.pi * hertz[:, None] * time)).sum(0)
    return effects.highpass((squares * np.exp(-time / decay)).astype(np.float32), low, 4)


def _long_cowbell(rng: np.random.Generator) -> np.ndarray:
    """Return the two squares of a TR-808's cowbell, or a conga."""
    time = _time(0.5)
    if rng.random() < 0.5:
        body = _swept(time, rng.uniform(250, 420), rng.uniform(180, 370), 0.02)
        return np.asarray(body * np.exp(-time / rng.uniform(0.05, 0.15)), np.float32)
    two = np.sign(np.sin(2 * np.pi * 540 * time)) + np.sign(np.sin(2 * np.pi * 800 * time))
    shape = np.exp(-time / 0.015) + 0.4 * np.exp(-time / rng.uniform(0.08, 0.2))
    return effects.highpass((two * shape).astype(np.float32), 500.0)


def _crushed(maker: Maker, rng: np.random.Generator) -> np.ndarray:
    """Return a stroke as an old sampler has it: few bits, and a low rate."""
    step = int(rng.integers(2, 4))
    sound = np.repeat(maker(rng)[::step], step)
    return np.asarray(np.round(sound / np.abs(sound).max(initial=1e-9) * 60) / 60, np.float32)


CHARACTERS: Mapping[str, Mapping[str, Maker]] = {
    "any": {},
    "808": {
        "kick": _round_kick, "percussion": _long_cowbell,
        "snare": lambda rng: _two_tone_snare(rng, (180.0, 330.0), 1500.0),
        "hat_closed": lambda rng: _six_squares(rng, rng.uniform(0.015, 0.05), 7000.0),
        "hat_open": lambda rng: _six_squares(rng, rng.uniform(0.1, 0.35), 7000.0),
        "crash": lambda rng: _six_squares(rng, rng.uniform(0.5, 1.1), 3500.0),
    },
    "909": {
        "kick": _punchy_kick, "snare": lambda rng: _two_tone_snare(rng, (190.0, 280.0), 900.0),
    },
    "707": {name: partial(_crushed, maker) for name, maker in _MAKERS.items()} | {
        "kick": partial(_crushed, _punchy_kick),
    },
}  # fmt: skip
"""Kind of machine → the sounds that it has of its own; the others are those of any machine."""
