"""Simple synthesizers: basses, pads and plucks.

Their waves are band-limited by PolyBLEP (V. Välimäki, A. Huovilainen, IEEE Signal Processing Magazine 24(2), 2007).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.mix.effects import RATE, highpass, lowpass

Event = tuple[float, float, int, int]
"""A note: start and duration in seconds, MIDI key, velocity from 1 to 127."""


def saw(hertz: float, samples: int, phase: float = 0.0) -> np.ndarray:
    """Return a sawtooth (samples,) within ±1; `phase` in turns."""
    step = hertz / RATE
    turn = (phase + step * np.arange(samples)) % 1.0
    wave: np.ndarray = 2 * turn - 1 - blep(turn, step)
    return wave.astype(np.float32)


def square(hertz: float, samples: int, width: float = 0.5) -> np.ndarray:
    """Return a pulse wave (samples,), the difference of two saws; `width` in turns."""
    wave: np.ndarray = saw(hertz, samples) - saw(hertz, samples, width)
    return wave


def blep(turn: np.ndarray, step: float | np.ndarray) -> np.ndarray:
    """Return by how much a saw exceeds a band-limited one, at phases in turns and a `step` in turns per sample."""
    early, late = turn / step, (turn - 1) / step
    return np.where(turn < step, 2 * early - early**2 - 1, np.where(turn > 1 - step, late**2 + 2 * late + 1, 0.0))


def envelope(samples: int, held: int, attack: float, decay: float, sustain: float, release: float) -> np.ndarray:
    """Return the loudness (samples,) of a note.

    It rises within `attack` seconds, decays to `sustain` with a time constant of `decay` seconds, and after `held`
    samples falls to zero within `release` seconds.
    """
    time = np.arange(samples) / RATE
    level = np.minimum(1.0, time / max(attack, 1e-4)) * (sustain + (1 - sustain) * np.exp(-time / decay))
    released: np.ndarray = level * np.clip(1 - (time - held / RATE) / release, 0, 1)
    return released.astype(np.float32)


def synth_bass(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play a bass with one random wave, through a low-pass that opens with the velocity; return (2, samples)."""
    shape = str(rng.choice(["sub", "saw", "square", "reese"]))
    cutoff, decay = float(rng.uniform(250, 2500)), float(rng.uniform(0.15, 1.5))
    audio = np.zeros(round(seconds * RATE), np.float32)
    for start, duration, key, velocity in events:
        held = round(duration * RATE)
        samples = held + round(0.06 * RATE)
        hertz = 440 * 2 ** ((key - 69) / 12)
        wave = _bass_wave(shape, hertz, samples) * envelope(samples, held, 0.004, decay, 0.5, 0.05)
        if shape != "sub":
            wave = lowpass(wave, cutoff * (0.6 + velocity / 127))
        _mix(audio, wave * (velocity / 127), start)
    return np.stack([audio, audio])


def _bass_wave(shape: str, hertz: float, samples: int) -> np.ndarray:
    """Return a wave (samples,): a rounded sine, or a saw, a square or two detuned saws over a sine."""
    sine: np.ndarray = np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)
    wave: np.ndarray
    if shape == "sub":
        wave = np.tanh(1.8 * sine)
    elif shape == "saw":
        wave = saw(hertz, samples) + 0.5 * sine
    elif shape == "square":
        wave = 0.5 * square(hertz, samples) + 0.5 * sine
    else:
        wave = 0.5 * (saw(hertz * 1.004, samples) + saw(hertz * 0.996, samples, 0.3)) + 0.4 * sine
    return wave


def synth_pad(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play chords with detuned saws, wide in stereo, through a low-pass; return (2, samples).

    In half of the cases they are held, in the other half plucked.
    """
    pluck = rng.random() < 0.5
    attack, decay, sustain = (0.003, 0.25, 0.0) if pluck else (0.25, 2.0, 0.8)
    cutoff, detune = float(rng.uniform(900, 6000)), float(rng.uniform(0.001, 0.008))
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    for start, duration, key, velocity in events:
        held = round(duration * RATE)
        samples = held + round((0.1 if pluck else 0.4) * RATE)
        hertz = 440 * 2 ** ((key - 69) / 12)
        shape = envelope(samples, held, attack, decay, sustain, 0.1 if pluck else 0.4) * (velocity / 127)
        for side, shift in enumerate((-detune, detune)):
            wave = saw(hertz * (1 + shift), samples, rng.random()) + saw(hertz * (1 - shift / 3), samples, rng.random())
            _mix(audio[side], wave * shape, start)
    return lowpass(audio, cutoff)


def _mix(audio: np.ndarray, wave: np.ndarray, start: float) -> None:
    """Add a wave to `audio` at `start` seconds; what lies past the end is left out."""
    first = round(max(start, 0.0) * RATE)
    end = min(first + len(wave), len(audio))
    if end > first:
        audio[first:end] += wave[: end - first]


def risers(rng: np.random.Generator, times: Sequence[float], seconds: float) -> np.ndarray:
    """Return noise that swells for two seconds before each of the times (s), up to -30 dB: (2, samples)."""
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    for time in times:
        length = min(round(2 * RATE), round(time * RATE))
        swell = np.linspace(0, 1, length, dtype=np.float32) ** 2 * np.float32(0.03)
        for side in audio:
            _mix(side, rng.standard_normal(length).astype(np.float32) * swell, time - length / RATE)
    return highpass(audio, 1500.0)
