"""Instruments in numpy: a drum kit, basses, an electric piano, a plucked guitar and a pad.

A player takes a note or a stroke and returns its sound, float64 (samples,) or (2, samples); `demo` places
and mixes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stemsplit.demo.song import Hit, Note

RATE = 44100
Array = np.ndarray


def seconds_axis(seconds: float) -> Array:
    """Times of the samples, (samples,)."""
    return np.arange(max(1, round(seconds * RATE))) / RATE


def hertz(pitch: float) -> float:
    """Frequency of a MIDI pitch."""
    return float(440 * 2 ** ((pitch - 69) / 12))


def shaped(signal: Array, gain: Callable[[Array], Array]) -> Array:
    """The signal with a zero-phase gain over frequency (Hz); the ends wrap, so they should be quiet."""
    size = 1 << (signal.shape[-1] - 1).bit_length()
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    return np.fft.irfft(np.fft.rfft(signal, size) * gain(frequencies), size)[..., : signal.shape[-1]]


def low_pass(cutoff: float, order: int = 2) -> Callable[[Array], Array]:
    """Butterworth magnitude."""
    return lambda f: 1 / np.sqrt(1 + (f / cutoff) ** (2 * order))


def high_pass(cutoff: float, order: int = 2) -> Callable[[Array], Array]:
    """Butterworth magnitude."""
    return lambda f: 1 - 1 / np.sqrt(1 + (f / cutoff) ** (2 * order))


def released(sound: Array, seconds: float, release: float) -> Array:
    """The sound held for `seconds`, then let go over `release` seconds, with a 1 ms attack against clicks."""
    held, tail = round(seconds * RATE), round(release * RATE)
    sound = sound[..., : held + tail].copy()
    left = sound.shape[-1] - held
    if left > 0:
        sound[..., held:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(left) / left)
    attack = min(44, sound.shape[-1])
    sound[..., :attack] *= np.linspace(0, 1, attack)
    return sound


# --- strings


def plucked_string(frequency: float, seconds: float, bright: float, rng: np.random.Generator) -> Array:
    """A Karplus-Strong string (Karplus & Strong 1983) in closed form, tuned exactly.

    The loop y[n] = x[n] + g·h(y)[n − period] has the spectrum X / (1 − g·H·z^−period). It is taken on a
    circle a little outside the unit circle, which keeps its end from wrapping around to its start.
    `bright` 0..1 sets the loop filter; the pluck comes a fifth of the string from the bridge.
    """
    size = 1 << (round(seconds * RATE) - 1).bit_length()
    radius = np.exp(4 / size)
    omega = 2 * np.pi * np.fft.rfftfreq(size)
    delayed = np.exp(-1j * omega) / radius
    pluck = rng.normal(size=round(RATE / frequency)) * (0.5 + 0.5 * bright)
    pluck -= np.roll(pluck, round(0.2 * len(pluck)))
    damping = 0.5 - 0.42 * bright
    loop = (1 - damping) + damping * delayed
    decay = 10 ** (-3 / (frequency * (4.5 - 0.0018 * frequency)))  # 60 dB in about 4 s, sooner for high notes
    period = RATE / frequency - damping  # the loop filter delays by `damping` samples at low frequencies
    turn = decay * loop * np.exp(-1j * omega * period) * radius**-period
    times = np.arange(size)
    excitation = np.fft.rfft(pluck * radius ** -np.arange(len(pluck)), size)
    string = np.fft.irfft(excitation / (1 - turn), size) * radius**times
    string = string[: round(seconds * RATE)]
    return string / (np.abs(string).max() + 1e-9)


@dataclass(frozen=True)
class Guitar:
    """Plucked strings, each pitch plucked once and then cut to length."""

    strings: dict[int, Array]

    def play(self, note: Note) -> Array:
        return note.velocity * released(self.strings[note.pitch], note.seconds, 0.12)


def tune_guitar(notes: tuple[Note, ...], rng: np.random.Generator) -> Guitar:
    """Strings for every pitch that will be asked for, seen through a wooden body."""
    bright = rng.uniform(0.25, 0.75)

    def body(f: Array) -> Array:
        wood = 0.8 * np.exp(-(((f - 110) / 40) ** 2)) + 0.6 * np.exp(-(((f - 220) / 60) ** 2))
        return (0.6 + wood) * high_pass(70)(f) * low_pass(6500, 1)(f)

    longest = max((note.seconds for note in notes), default=1.0) + 0.2
    return Guitar(
        {
            pitch: shaped(plucked_string(hertz(pitch), min(longest, 2.9), bright, rng), body)
            for pitch in sorted({note.pitch for note in notes})
        }
    )


# --- bass


def picked_bass(note: Note, rng: np.random.Generator) -> Array:
    """A plucked bass string with its top taken off and its fundamental brought out."""
    string = plucked_string(hertz(note.pitch), note.seconds + 0.2, 0.3, rng)
    thick = shaped(string, lambda f: low_pass(500)(f) + 1.5 * low_pass(120)(f))
    return note.velocity * released(thick, note.seconds, 0.08)


def synth_bass(note: Note, rng: np.random.Generator) -> Array:
    """A sawtooth whose filter closes: harmonic k decays k times as fast as the filter does."""
    times = seconds_axis(note.seconds + 0.1)
    turn = np.exp(2j * np.pi * (hertz(note.pitch) * times + rng.random()))
    harmonic, sound = np.ones_like(turn), np.zeros_like(times)
    close = np.exp(-times / 0.16)
    for k in range(1, 21):
        harmonic = harmonic * turn
        openness = 1 / (1 + (k / (2.5 + 9 * note.velocity * close)) ** 3)
        sound += openness * harmonic.imag / k
    return note.velocity * released(0.7 * sound, note.seconds, 0.06)


# --- keys and pad


def electric_piano(note: Note) -> Array:
    """Two-operator FM (Chowning 1973): a body that mellows, and a tine two octaves and more above it."""
    times = seconds_axis(note.seconds + 0.15)
    frequency = hertz(note.pitch)
    body = 1.5 * note.velocity * np.exp(-times / 0.7) * np.sin(2 * np.pi * frequency * times)
    tine = 0.22 * np.exp(-times / 0.09) * np.sin(2 * np.pi * 9 * frequency * times)
    sound = np.sin(2 * np.pi * frequency * times + body + tine) * np.exp(-times * frequency / 420)
    return note.velocity * released(sound, note.seconds, 0.12)


@dataclass(frozen=True)
class Pad:
    """Loops of a soft ensemble, stereo, one per pitch."""

    loops: dict[int, Array]

    def play(self, note: Note) -> Array:
        loop = self.loops[note.pitch]
        length = round((note.seconds + 0.5) * RATE)
        sound = np.resize(loop[0], length), np.resize(loop[1], length)
        swell = 1 - np.exp(-np.arange(length) / (0.18 * RATE))
        return note.velocity * released(np.stack(sound) * swell, note.seconds, 0.5)


def tune_pad(notes: tuple[Note, ...], rng: np.random.Generator) -> Pad:
    """One loop for every pitch, all of one timbre."""
    rolloff, odd = rng.uniform(1.1, 1.9), rng.uniform(0.4, 1.0)
    return Pad(
        {pitch: ensemble_loop(hertz(pitch), rolloff, odd, rng) for pitch in sorted({note.pitch for note in notes})}
    )


def ensemble_loop(frequency: float, rolloff: float, odd: float, rng: np.random.Generator) -> Array:
    """A seamless loop, (2, 131072): harmonics as narrow bands of random phase (Nasca's PADsynth).

    Harmonic k has level k^−rolloff, the even ones times `odd`; left and right have phases of their own.
    """
    size = 1 << 17
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    spectrum = np.zeros_like(frequencies)
    for k in range(1, min(24, int(9000 / frequency)) + 1):
        width = 0.006 * k**0.8 * frequency
        level = k**-rolloff * (odd if k % 2 == 0 else 1.0)
        near = slice(*np.searchsorted(frequencies, [k * frequency - 4 * width, k * frequency + 4 * width]))
        spectrum[near] += level * np.exp(-(((frequencies[near] - k * frequency) / width) ** 2))
    phases = np.exp(2j * np.pi * rng.random((2, len(frequencies))))
    loop = np.fft.irfft(spectrum * phases, size)
    return 0.25 * loop / np.sqrt(np.mean(loop**2))


# --- drums


@dataclass(frozen=True)
class DrumKit:
    """Three takes of every drum, so that no two strokes in a row are the same."""

    takes: dict[str, tuple[Array, ...]]

    def play(self, hit: Hit, stroke: int) -> Array:
        takes = self.takes[hit.drum]
        return hit.velocity * takes[stroke % len(takes)]


def build_kit(rng: np.random.Generator) -> DrumKit:
    """A kit of its own sizes and skins."""
    size = rng.uniform(0.88, 1.12)
    snare_tone, snare_ring = rng.uniform(165, 215), rng.uniform(0.09, 0.16)
    partials = 3000 * rng.uniform(1, 4, size=24)
    makers: dict[str, Callable[[], Array]] = {
        "kick": lambda: 1.0 * skin(50 / size, 110, 0.035, 0.16 * size, 0.35, rng),
        "tom_high": lambda: 0.8 * skin(150 / size, 60, 0.06, 0.17, 0.12, rng),
        "tom_low": lambda: 0.9 * skin(95 / size, 45, 0.06, 0.23, 0.12, rng),
        "snare": lambda: 0.9 * snare(snare_tone, snare_ring, rng),
        "hat": lambda: 0.22 * cymbal(partials, 7000, 0.035, 0.2, rng),
        "hat_open": lambda: 0.22 * cymbal(partials, 6500, 0.16, 0.5, rng),
        "crash": lambda: 0.34 * cymbal(partials * 0.55, 2500, 0.75, 2.6, rng),
    }
    return DrumKit({name: tuple(make() for _ in range(3)) for name, make in makers.items()})


def skin(tone: float, drop: float, drop_seconds: float, ring: float, click: float, rng: np.random.Generator) -> Array:
    """A kick or tom: a sine that falls by `drop` Hz to `tone` and rings, with a beater's click."""
    times = seconds_axis(6 * ring)
    cycles = tone * times + drop * drop_seconds * (1 - np.exp(-times / drop_seconds))
    sound = np.sin(2 * np.pi * cycles) * np.exp(-times / ring)
    beater = shaped(rng.normal(size=len(times)) * np.exp(-times / 0.004), low_pass(5000))
    return released(sound + click * beater, 5.5 * ring, 0.5 * ring)


def snare(tone: float, ring: float, rng: np.random.Generator) -> Array:
    """Two modes of the head and the rattle of the wires."""
    times = seconds_axis(6 * ring)
    bend = 0.02 * (1 - np.exp(-times / 0.02))
    head = np.sin(2 * np.pi * tone * (times + bend)) + 0.6 * np.sin(2 * np.pi * 1.72 * tone * times)
    wires = shaped(rng.normal(size=len(times)), lambda f: high_pass(600)(f) * low_pass(7500, 1)(f))
    sound = 0.55 * head * np.exp(-times / (0.45 * ring)) + 0.7 * wires * np.exp(-times / ring)
    return released(sound, 5 * ring, ring)


def cymbal(partials: Array, cutoff: float, ring: float, seconds: float, rng: np.random.Generator) -> Array:
    """Noise and inharmonic partials, above `cutoff` Hz; the highest die first."""
    times = seconds_axis(seconds)
    metal = np.zeros_like(times)
    for partial in partials * rng.uniform(0.995, 1.005):
        metal += np.sin(2 * np.pi * (partial * times + rng.random()))
    noise = rng.normal(size=len(times)) + 0.6 * metal / np.sqrt(len(partials) / 2)
    hiss = shaped(noise, lambda f: high_pass(cutoff, 3)(f) * low_pass(11000)(f))
    top = shaped(noise, high_pass(9000, 3))
    sound = hiss * np.exp(-times / ring) + 0.4 * top * np.exp(-times / (0.4 * ring))
    return released(sound, 0.8 * seconds, 0.2 * seconds)


# --- room


def reverberated(dry: Array, seconds: float, wet: float, rng: np.random.Generator) -> Array:
    """Dry sound (2, samples) plus a room: 12 ms later, noise falling 60 dB in `seconds`, its top sooner."""
    times = seconds_axis(1.2 * seconds)
    noise = rng.normal(size=(2, len(times)))
    dark = shaped(noise, lambda f: low_pass(2500, 1)(f) * high_pass(200)(f)) * 10 ** (-3 * times / seconds)
    light = shaped(noise, high_pass(2500, 1)) * 10 ** (-6 * times / seconds)
    room = np.pad(dark + light, ((0, 0), (round(0.012 * RATE), 0)))
    room *= wet / np.sqrt(np.sum(room**2, axis=1, keepdims=True))
    size = 1 << (dry.shape[1] + room.shape[1] - 1).bit_length()
    echo = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(room, size), size)
    return dry + echo[:, : dry.shape[1]]
