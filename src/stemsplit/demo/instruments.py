"""Instruments in numpy: a drum kit, basses, an electric piano, a plucked guitar and a pad.

Each of them takes a note or a stroke and returns its sound, float64 (samples,) or (2, samples). `demo.stems` puts the
sounds into tracks and mixes these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stemsplit.demo.song import Hit, Note

RATE = 44100
Array = np.ndarray


def seconds_axis(seconds: float) -> Array:
    """Return the times of the samples, in seconds: (samples,)."""
    return np.arange(max(1, round(seconds * RATE))) / RATE


def hertz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch in Hz."""
    return float(440 * 2 ** ((pitch - 69) / 12))


def shaped(signal: Array, gain: Callable[[Array], Array]) -> Array:
    """Multiply the spectrum of a signal by `gain`, a function of the frequency in Hz, without changing phases.

    The signal is treated as a loop, so its ends should be quiet.
    """
    size = 1 << (signal.shape[-1] - 1).bit_length()
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    filtered: Array = np.fft.irfft(np.fft.rfft(signal, size) * gain(frequencies), size)
    return filtered[..., : signal.shape[-1]]


def low_pass(cutoff: float, order: int = 2) -> Callable[[Array], Array]:
    """Return the magnitude of a Butterworth low-pass as a function of the frequency in Hz."""
    return lambda f: 1 / np.sqrt(1 + (f / cutoff) ** (2 * order))


def high_pass(cutoff: float, order: int = 2) -> Callable[[Array], Array]:
    """Return 1 minus the magnitude of a Butterworth low-pass, as a function of the frequency in Hz."""
    return lambda f: 1 - 1 / np.sqrt(1 + (f / cutoff) ** (2 * order))


def released(sound: Array, seconds: float, release: float) -> Array:
    """Return a sound that lasts `seconds` and fades out over another `release` seconds.

    It also fades in over 1 ms, so that there is no click.
    """
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
    """Compute a Karplus-Strong string (Karplus & Strong 1983) by its spectrum, so that it is tuned exactly.

    The loop y[n] = x[n] + g·h(y)[n − period] has the spectrum X / (1 − g·H·z^−period). It is computed on a circle a
    little outside of the unit circle. Otherwise the end of the sound, which still rings, would appear at its start.
    The string is plucked at a fifth of its length from the bridge.

    Args:
        frequency: Hz.
        seconds: length of the sound.
        bright: from 0 to 1; sets the loop filter h and the loudness of the pluck.
        rng: draws the noise of the pluck.
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
    return np.asarray(string / (np.abs(string).max() + 1e-9))


@dataclass(frozen=True)
class Guitar:
    """A guitar. Each pitch is computed once, and then cut to the length of every note."""

    strings: dict[int, Array]  # pitch → sound

    def play(self, note: Note) -> Array:
        """Return the sound of a note."""
        return note.velocity * released(self.strings[note.pitch], note.seconds, 0.12)


def tune_guitar(notes: tuple[Note, ...], rng: np.random.Generator) -> Guitar:
    """Return a guitar with a string for each pitch of `notes`, and with the resonances of a wooden body."""
    bright = rng.uniform(0.25, 0.75)

    def body(f: Array) -> Array:
        wood = 0.8 * np.exp(-(((f - 110) / 40) ** 2)) + 0.6 * np.exp(-(((f - 220) / 60) ** 2))
        return np.asarray((0.6 + wood) * high_pass(70)(f) * low_pass(6500, 1)(f))

    longest = max((note.seconds for note in notes), default=1.0) + 0.2
    return Guitar(
        {
            pitch: shaped(plucked_string(hertz(pitch), min(longest, 2.9), bright, rng), body)
            for pitch in sorted({note.pitch for note in notes})
        }
    )


# --- bass


def picked_bass(note: Note, rng: np.random.Generator) -> Array:
    """Play a plucked bass string, with weaker treble and a stronger fundamental."""
    string = plucked_string(hertz(note.pitch), note.seconds + 0.2, 0.3, rng)
    thick = shaped(string, lambda f: low_pass(500)(f) + 1.5 * low_pass(120)(f))
    return note.velocity * released(thick, note.seconds, 0.08)


def synth_bass(note: Note, rng: np.random.Generator) -> Array:
    """Play a sawtooth through a low-pass that closes during the note, so that higher harmonics decay first."""
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
    """Play an electric piano by frequency modulation (Chowning 1973), with two modulators.

    One, at the pitch itself, makes the body of the sound, which becomes mellower. The other, at nine times the pitch,
    makes the strike of the tine.
    """
    times = seconds_axis(note.seconds + 0.15)
    frequency = hertz(note.pitch)
    body = 1.5 * note.velocity * np.exp(-times / 0.7) * np.sin(2 * np.pi * frequency * times)
    tine = 0.22 * np.exp(-times / 0.09) * np.sin(2 * np.pi * 9 * frequency * times)
    sound = np.sin(2 * np.pi * frequency * times + body + tine) * np.exp(-times * frequency / 420)
    return note.velocity * released(sound, note.seconds, 0.12)


@dataclass(frozen=True)
class Pad:
    """A soft ensemble: one stereo loop per pitch."""

    loops: dict[int, Array]  # pitch → (2, samples)

    def play(self, note: Note) -> Array:
        """Return the sound of a note, (2, samples)."""
        loop = self.loops[note.pitch]
        length = round((note.seconds + 0.5) * RATE)
        sound = np.resize(loop[0], length), np.resize(loop[1], length)
        swell = 1 - np.exp(-np.arange(length) / (0.18 * RATE))
        return note.velocity * released(np.stack(sound) * swell, note.seconds, 0.5)


def tune_pad(notes: tuple[Note, ...], rng: np.random.Generator) -> Pad:
    """Return a pad with a loop for each pitch of `notes`, all with the same timbre."""
    rolloff, odd = rng.uniform(1.1, 1.9), rng.uniform(0.4, 1.0)
    return Pad(
        {pitch: ensemble_loop(hertz(pitch), rolloff, odd, rng) for pitch in sorted({note.pitch for note in notes})}
    )


def ensemble_loop(frequency: float, rolloff: float, odd: float, rng: np.random.Generator) -> Array:
    """Return a seamless loop (2, 131072) in which each harmonic is a narrow band of random phases (Nasca's PADsynth).

    Harmonic k has the level k^−rolloff; the level of even harmonics is multiplied by `odd`. Left and right have
    different phases.
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
    return np.asarray(0.25 * loop / np.sqrt(np.mean(loop**2)))


# --- drums


@dataclass(frozen=True)
class DrumKit:
    """A drum kit with several versions of every drum, so that successive strokes differ."""

    takes: dict[str, tuple[Array, ...]]  # drum → its versions

    def play(self, hit: Hit, stroke: int) -> Array:
        """Return the sound of a hit, by the version that the number of the stroke chooses."""
        takes = self.takes[hit.drum]
        return hit.velocity * takes[stroke % len(takes)]


def build_kit(rng: np.random.Generator) -> DrumKit:
    """Return a kit with drums of random sizes and sounds."""
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
    """Return the sound of a kick drum or tom: a sine that falls by `drop` Hz to `tone` and rings, with a click."""
    times = seconds_axis(6 * ring)
    cycles = tone * times + drop * drop_seconds * (1 - np.exp(-times / drop_seconds))
    sound = np.sin(2 * np.pi * cycles) * np.exp(-times / ring)
    beater = shaped(rng.normal(size=len(times)) * np.exp(-times / 0.004), low_pass(5000))
    return released(sound + click * beater, 5.5 * ring, 0.5 * ring)


def snare(tone: float, ring: float, rng: np.random.Generator) -> Array:
    """Return the sound of a snare drum: two modes of the head, and the noise of the wires."""
    times = seconds_axis(6 * ring)
    bend = 0.02 * (1 - np.exp(-times / 0.02))
    head = np.sin(2 * np.pi * tone * (times + bend)) + 0.6 * np.sin(2 * np.pi * 1.72 * tone * times)
    wires = shaped(rng.normal(size=len(times)), lambda f: high_pass(600)(f) * low_pass(7500, 1)(f))
    sound = 0.55 * head * np.exp(-times / (0.45 * ring)) + 0.7 * wires * np.exp(-times / ring)
    return released(sound, 5 * ring, ring)


def cymbal(partials: Array, cutoff: float, ring: float, seconds: float, rng: np.random.Generator) -> Array:
    """Return the sound of a cymbal: noise and inharmonic partials above `cutoff` Hz. High frequencies decay faster."""
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
    """Add a room to a dry sound (2, samples).

    The room's response is noise that begins after 12 ms and falls by 60 dB in `seconds`; its treble falls faster. `wet`
    is its level.
    """
    times = seconds_axis(1.2 * seconds)
    noise = rng.normal(size=(2, len(times)))
    dark = shaped(noise, lambda f: low_pass(2500, 1)(f) * high_pass(200)(f)) * 10 ** (-3 * times / seconds)
    light = shaped(noise, high_pass(2500, 1)) * 10 ** (-6 * times / seconds)
    room = np.pad(dark + light, ((0, 0), (round(0.012 * RATE), 0)))
    room *= wet / np.sqrt(np.sum(room**2, axis=1, keepdims=True))
    size = 1 << (dry.shape[1] + room.shape[1] - 1).bit_length()
    echo = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(room, size), size)
    return dry + echo[:, : dry.shape[1]]
