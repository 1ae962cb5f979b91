"""Synthesizers of chords and melodies: supersaws, plucks, pads, stabs, organs, bells, and one that seems to talk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from songs.instruments.leads import glided, loudness, saw_along, synth_lead
from songs.instruments.synths import Event, envelope, saw, square, synth_pad
from songs.mix.effects import RATE, highpass, lowpass, saturate
from songs.mix.spectral import filtered, frame_samples, peaks_magnitude

Synth = Callable[[np.random.Generator, Sequence[Event], float], np.ndarray]
"""Plays notes: (2, samples) of so many seconds."""
_VOWELS = np.array([[800, 1150, 2900], [350, 2000, 2800], [270, 2140, 2950], [450, 800, 2830], [325, 700, 2700]], float)
"""The first three formants of a, e, i, o, u in Hz."""


def _hertz(key: float) -> float:
    return float(440 * 2 ** ((key - 69) / 12))


def played(
    events: Sequence[Event],
    seconds: float,
    wave: Callable[[float, int], np.ndarray],
    shape: tuple[float, float, float, float],
) -> np.ndarray:
    """Play notes whose wave is made once for each key: (2, samples).

    Args:
        events: The notes.
        seconds: Length of the song.
        wave: Makes the wave (2, samples) of a frequency in Hz.
        shape: Attack, decay, sustain and release; see `synths.envelope`.
    """
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    tail = round(shape[3] * RATE)
    longest: dict[int, int] = {}
    for _, duration, key, _ in events:
        longest[key] = max(longest.get(key, 0), round(duration * RATE) + tail)
    waves = {key: wave(_hertz(key), samples) for key, samples in longest.items()}
    shapes: dict[int, np.ndarray] = {}
    for start, duration, key, velocity in events:
        held, first = round(duration * RATE), round(max(start, 0.0) * RATE)
        if held not in shapes:
            shapes[held] = envelope(held + tail, held, *shape)
        end = min(first + held + tail, audio.shape[1])
        if end > first:
            loud = shapes[held][: end - first] * np.float32(velocity / 127)
            audio[:, first:end] += waves[key][:, : end - first] * loud
    return audio


def _saws(rng: np.random.Generator, voices: int, detune: float) -> Callable[[float, int], np.ndarray]:
    """Return a maker of that many saws out of tune by up to `detune`, spread from left to right."""
    shifts = np.linspace(-detune, detune, voices) + rng.normal(0, detune / 10, voices)
    places = rng.permutation(np.linspace(0.1, 0.9, voices))

    def wave(hertz: float, samples: int) -> np.ndarray:
        both = np.zeros((2, samples), np.float32)
        for shift, place in zip(shifts, places, strict=True):
            one = saw(hertz * (1 + float(shift)), samples, float(rng.random()))
            both[0] += one * np.float32(1 - place)
            both[1] += one * np.float32(place)
        return np.asarray(both / np.sqrt(voices), np.float32)

    return wave


def supersaw(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play five to seven saws out of tune on every note, wide."""
    wave = _saws(rng, int(rng.choice([5, 7])), float(rng.uniform(0.003, 0.015)))
    release = float(rng.uniform(0.05, 0.4))
    audio = played(events, seconds, wave, (float(rng.choice([0.004, 0.02, 0.15])), 1.0, 0.8, release))
    return highpass(lowpass(audio, float(np.exp(rng.uniform(np.log(1500), np.log(14000))))), 120.0)


def stab(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play short bright chords of three saws."""
    wave = _saws(rng, 3, float(rng.uniform(0.001, 0.006)))
    audio = played(events, seconds, wave, (0.002, float(rng.uniform(0.08, 0.3)), 0.1, 0.08))
    return saturate(lowpass(audio, float(rng.uniform(1500, 9000))), float(rng.uniform(0.3, 3)))


def pluck(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play notes that die away at once, the treble first: a dull and a bright part with their own decays."""
    decay = float(rng.uniform(0.08, 0.5))
    wave = _saws(rng, 2, float(rng.uniform(0.0005, 0.004)))
    slow = played(events, seconds, wave, (0.002, decay, 0.0, 0.1))
    fast = played(events, seconds, wave, (0.001, decay / 4, 0.0, 0.1))
    dull = float(rng.uniform(500, 2500))
    return lowpass(slow, dull) + 0.7 * highpass(fast, dull)


def saw_pluck(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play plucked supersaws, as of trance."""
    wave = _saws(rng, 5, float(rng.uniform(0.003, 0.01)))
    audio = played(events, seconds, wave, (0.003, float(rng.uniform(0.12, 0.4)), 0.0, 0.1))
    return lowpass(audio, float(rng.uniform(2500, 12000)))


def chip(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play pulses, as of old computers."""
    width = float(rng.choice([0.125, 0.25, 0.5]))
    shape = (0.002, float(rng.uniform(0.1, 2)), float(rng.choice([0.0, 0.6])), 0.03)
    return played(events, seconds, lambda hertz, n: np.tile(0.5 * square(hertz, n, width), (2, 1)), shape)


def organ(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play sums of sines, like drawbars."""
    bars = rng.uniform(0, 1, 7) * np.array([0.6, 1.0, 0.7, 0.6, 0.3, 0.3, 0.2])
    ratios = (0.5, 1, 2, 3, 4, 6, 8)

    def wave(hertz: float, samples: int) -> np.ndarray:
        turn = 2 * np.pi * hertz * np.arange(samples) / RATE
        tones = sum(bar * np.sin(ratio * turn) for bar, ratio in zip(bars, ratios, strict=True) if ratio * hertz < 18e3)
        return np.tile(np.asarray(tones, np.float32), (2, 1))

    sustain, decay = (1.0, 1.0) if rng.random() < 0.5 else (0.0, float(rng.uniform(0.15, 0.6)))
    return played(events, seconds, wave, (0.003, decay, sustain, 0.05))


def bell(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play bells and electric pianos by frequency modulation (J. Chowning, JAES 21(7), 1973)."""
    ratio = float(rng.choice([1.0, 2.0, 3.5, 1.41, 7.0, 14.0]))
    depth, decay = float(rng.uniform(0.5, 3.5)) / max(ratio / 4, 1), float(rng.uniform(0.2, 1.5))

    def wave(hertz: float, samples: int) -> np.ndarray:
        time = np.arange(samples) / RATE
        turn = 2 * np.pi * hertz * time
        sides = [np.sin(turn + depth * np.exp(-time / decay / 0.6) * np.sin(ratio * turn + 0.3 * s)) for s in (0, 1)]
        return np.asarray(sides, np.float32)

    return played(events, seconds, wave, (0.002, decay, 0.0, float(rng.uniform(0.1, 0.6))))


def strings_machine(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play held saws that swell, dull and wide, with a slow tremor."""
    wave = _saws(rng, 3, float(rng.uniform(0.002, 0.006)))
    audio = played(events, seconds, wave, (float(rng.uniform(0.1, 0.6)), 2.0, 0.9, float(rng.uniform(0.2, 0.8))))
    time = np.arange(audio.shape[1]) / RATE
    tremor = 1 - rng.uniform(0, 0.3) * (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.5, 6) * time))
    return highpass(lowpass(audio * tremor.astype(np.float32), float(rng.uniform(1200, 6000))), 150.0)


def glass(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play soft sines an octave and a fifth apart, with slow attacks."""
    amounts = rng.uniform(0.05, 0.6, 3)

    def wave(hertz: float, samples: int) -> np.ndarray:
        turn = 2 * np.pi * hertz * np.arange(samples) / RATE
        high = [sum(a * np.sin(k * turn * (1 + s * 4e-4)) for a, k in zip(amounts, (2, 3, 5), strict=True))
                for s in (-1, 1)]  # fmt: skip
        return np.asarray([np.sin(turn) + part for part in high], np.float32)

    return played(events, seconds, wave, (float(rng.uniform(0.05, 0.8)), 2.0, 0.8, float(rng.uniform(0.2, 1.0))))


def talkbox(rng: np.random.Generator, events: Sequence[Event], seconds: float) -> np.ndarray:
    """Play a gliding saw through the formants of vowels, another on every note: it sings, and nobody is there."""
    samples, line = round(seconds * RATE), sorted(events)
    pitch = glided(line, samples, float(rng.uniform(0.01, 0.08)))
    time = np.arange(samples) / RATE
    wave = saw_along(pitch + rng.uniform(0, 0.3) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * time))
    level = loudness(line, samples, float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.05, 0.2)))
    at = frame_samples(samples)
    starts = np.array([note[0] for note in line] or [0.0])
    vowels = _VOWELS[rng.integers(len(_VOWELS), size=len(starts))] * rng.uniform(0.85, 1.2)
    knots = np.stack([starts, starts + rng.uniform(0.03, 0.15)], 1).ravel()
    aims = np.stack([np.roll(vowels, 1, 0), vowels], 1).reshape(-1, 3)
    order = np.argsort(knots, kind="stable")
    centres = np.stack([np.interp(at / RATE, knots[order], aims[order, k]) for k in range(3)], 1)
    shaped = filtered(wave * level, peaks_magnitude(centres, np.array([90.0, 120, 180]), np.array([1, 0.5, 0.25])))
    sound = saturate(shaped, float(rng.uniform(0.3, 4)))
    return np.stack([sound, sound])


SYNTHS: Mapping[str, Synth] = {
    "supersaw": supersaw, "stab": stab, "pluck": pluck, "saw pluck": saw_pluck, "chip": chip, "organ": organ,
    "bell": bell, "strings machine": strings_machine, "glass": glass, "talkbox": talkbox, "lead": synth_lead,
    "pad": synth_pad,
}  # fmt: skip
"""Name → a synthesizer."""
