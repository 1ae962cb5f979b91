"""Effects that voices get beside tone and room: delays, doublings, distortion, the sound of a telephone.

Arrays are float32 (2, samples) at 44.1 kHz.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import signal

from songs.mix import effects
from songs.mix.effects import RATE


def telephone(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Leave a narrow band, and distort it a little."""
    dull = effects.lowpass(audio, float(rng.uniform(2500, 4500)), 4)
    narrow = effects.highpass(dull, float(rng.uniform(250, 600)), 3)
    return effects.saturate(narrow, float(rng.uniform(0.5, 5)))


def slapback(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Add one short repeat, on the same side."""
    delay, gain = round(float(rng.uniform(0.06, 0.16)) * RATE), np.float32(rng.uniform(0.15, 0.6))
    out: np.ndarray = audio.copy()
    out[:, delay:] += gain * effects.lowpass(audio[:, :-delay], float(rng.uniform(2000, 8000)), 1)
    return out


def throws(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Add echoes of the ends of some phrases: of what sounds in the last beat before a rest."""
    sent = audio * phrase_ends(audio, beat, float(rng.uniform(0.3, 1.0)), rng)
    seconds = beat * float(rng.choice([0.5, 0.75, 1.0, 1.5]))
    echoes = effects.echo(sent, seconds, float(rng.uniform(0.35, 0.7)), repeats=5) - sent
    echoed: np.ndarray = audio + effects.lowpass(effects.highpass(echoes, 250.0), float(rng.uniform(2500, 7000)), 1)
    return echoed


def phrase_ends(audio: np.ndarray, beat: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return a gate (samples,) that is 1 in the last beat before a `share` of the rests; `beat` in seconds."""
    hop = RATE // 50
    level = np.sqrt(np.add.reduceat((audio**2).mean(0), np.arange(0, audio.shape[1], hop)) / hop)
    sounding = level > 0.03 * level.max(initial=1e-9)
    filled = signal.medfilt(sounding.astype(np.float32), 15) > 0.5
    stops = np.flatnonzero(filled[:-1] & ~filled[1:])
    gate = np.zeros(audio.shape[1], np.float32)
    for stop in stops:
        if rng.random() < share:
            gate[max(0, stop * hop - round(beat * RATE)) : (stop + 3) * hop] = 1
    ramp = np.ones(441, np.float32) / 441
    return np.convolve(gate, ramp, mode="same").astype(np.float32)


def doubler(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Add copies to the sides, delayed by 10 to 30 ms and slightly out of tune."""
    middle, gain = audio.mean(0), np.float32(rng.uniform(0.3, 0.8))
    index = np.arange(audio.shape[1], dtype=np.float64)
    out: np.ndarray = audio.copy()
    for side, sign in ((0, 1), (1, -1)):
        swing = 0.004 * RATE * (1 + np.sin(2 * np.pi * float(rng.uniform(0.1, 0.6)) * index / RATE + sign))
        delayed = np.interp(index - float(rng.uniform(0.01, 0.03)) * RATE - swing, index, middle)
        out[side] += gain * delayed.astype(np.float32)
    return out


def distort(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Distort the voice, and mix it with itself as it was."""
    driven = effects.saturate(effects.highpass(audio, 150.0), float(rng.uniform(2, 12)))
    amount = np.float32(rng.uniform(0.3, 1.0))
    mixed: np.ndarray = audio * (1 - amount) + driven * amount
    return mixed


def flanged(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Add a slow chorus."""
    return effects.chorus(audio, float(rng.uniform(0.2, 2.0)), float(rng.uniform(0.001, 0.005)))


def long_echo(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Add repeats in time with the song, throughout."""
    return effects.echo(audio, beat * float(rng.choice([0.5, 0.75, 1.0])), float(rng.uniform(0.1, 0.45)))


def stutter(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Repeat the beginning of some beats until they end."""
    length, share = round(beat * RATE), float(rng.uniform(0.1, 0.5))
    size = max(round(length * float(rng.choice([1 / 8, 1 / 4, 1 / 4, 1 / 3, 1 / 2]))), 4)
    edges = _softened(np.ones(size, np.float32), min(round(0.003 * RATE), size // 2))
    out: np.ndarray = audio.copy()
    for first in range(0, audio.shape[1] - length, length):
        if rng.random() < share:
            piece = audio[:, first : first + size] * edges
            out[:, first : first + length] = np.tile(piece, -(-length // size))[:, :length]
    return out


def gated(rng: np.random.Generator, audio: np.ndarray, beat: float) -> np.ndarray:
    """Let a voice through in some sixteenths of a bar only, the same in all bars."""
    open_ = (rng.random(16) < 0.65).astype(np.float32)
    if not open_.any():
        open_[0] = 1
    sixteenth = beat * RATE / 4
    step = (np.arange(audio.shape[1]) / sixteenth).astype(int) % 16
    ramp = np.ones(221, np.float32) / 221
    gains = np.convolve(open_[step], ramp, mode="same").astype(np.float32)
    return np.asarray(audio * gains, np.float32)


def _softened(gains: np.ndarray, fade: int) -> np.ndarray:
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    gains[:fade], gains[len(gains) - fade :] = ramp, ramp[::-1]
    return gains


Treatment = Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
"""Treats a voice (2, samples); the last argument is the length of a beat in seconds."""
TREATMENTS: tuple[tuple[Treatment, float], ...] = (
    (doubler, 0.15), (flanged, 0.06), (distort, 0.12), (telephone, 0.05), (slapback, 0.12), (throws, 0.15),
    (long_echo, 0.1),
)  # fmt: skip
"""Treatments in their order, and the probability of each."""


CUTTING: tuple[Treatment, ...] = (stutter, gated)
"""Treatments after which a voice no longer sings its melody."""


def treat_voice(rng: np.random.Generator, audio: np.ndarray, beat: float) -> tuple[np.ndarray, list[str]]:
    """Treat a voice with some of the treatments, and return it with their names; `beat` in seconds."""
    used = []
    for treatment, chance in TREATMENTS:
        if rng.random() < chance:
            audio = treatment(rng, audio, beat)
            used.append(treatment.__name__)
    return audio.astype(np.float32), used
