"""A singer in numpy: pulses of the vocal folds through moving formants, with consonants, vibrato and breath.

This is the source-filter theory (Fant 1960), computed by adding up harmonics. Each harmonic of the pulses is multiplied
by the complex gain of the vocal tract at its frequency, which is set 300 times per second. So f0 is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stemsplit.demo.instruments import RATE, Array
from stemsplit.demo.song import SungNote

FRAME = 147  # samples: 300 control frames per second, three in 10 ms
FRAMES_PER_SECOND = RATE / FRAME
HIGHEST_HARMONIC_HZ = 11000
NOISE_SPECTRUM = 4 * FRAME // 2 + 1

# Formant frequencies of a low voice in Hz (after Peterson & Barney 1952). Those of consonants are the frequencies that
# the formants start from at the consonant (loci).
FORMANTS = {
    "a": (730, 1150, 2500, 3300, 4200),
    "e": (480, 1850, 2500, 3400, 4200),
    "i": (300, 2250, 2950, 3500, 4300),
    "o": (500, 880, 2450, 3250, 4100),
    "u": (330, 750, 2300, 3250, 4100),
    "n": (280, 1500, 2500, 3300, 4200),
    "m": (270, 1050, 2200, 3250, 4100),
    "l": (350, 1150, 2700, 3400, 4200),
    "r": (380, 1200, 1700, 3200, 4100),
    "w": (300, 650, 2250, 3250, 4100),
    "y": (270, 2250, 3000, 3500, 4300),
    "d": (300, 1700, 2650, 3400, 4200),
    "b": (280, 850, 2250, 3300, 4200),
}
BANDWIDTHS = np.array([110.0, 120.0, 150.0, 210.0, 280.0])


@dataclass(frozen=True)
class Consonant:
    """How a consonant sounds."""

    seconds: float  # length
    voice: float  # loudness of the voice, relative to a vowel
    noise: float = 0.0  # loudness of the noise
    centre_hz: float = 0.0  # middle of the noise's spectrum
    width_hz: float = 1.0  # width of the noise's spectrum
    closure: float = 0.0  # fraction of the length that is without noise, before a burst
    locus: str | None = None  # key of its formants in `FORMANTS`; None: those of the next vowel


CONSONANTS = {
    "n": Consonant(0.075, 0.35, locus="n"),
    "m": Consonant(0.080, 0.35, locus="m"),
    "l": Consonant(0.070, 0.50, locus="l"),
    "r": Consonant(0.070, 0.50, locus="r"),
    "w": Consonant(0.080, 0.55, locus="w"),
    "y": Consonant(0.080, 0.55, locus="y"),
    "d": Consonant(0.060, 0.12, 1.0, 3800, 1500, 0.7, "d"),
    "b": Consonant(0.060, 0.15, 0.8, 900, 700, 0.75, "b"),
    "t": Consonant(0.080, 0.0, 2.2, 4800, 1800, 0.45),
    "k": Consonant(0.090, 0.0, 2.0, 2200, 900, 0.45),
    "s": Consonant(0.120, 0.0, 1.6, 7200, 1700),
    "sh": Consonant(0.120, 0.0, 1.6, 3800, 1300),
    "h": Consonant(0.070, 0.0, 0.9, 1500, 1300),
}
BREATH = Consonant(0.28, 0.0, 0.25, 1800, 1100)


@dataclass(frozen=True)
class Singer:
    """The properties of a voice."""

    centre: int  # MIDI pitch of the middle of the range
    tract: float  # factor on the formant frequencies; above 1 for a shorter vocal tract
    open_quotient: float  # fraction of a period in which the vocal folds are open
    tilt_hz: float  # harmonics above this frequency become weaker
    breathiness: float
    vibrato_hz: float
    vibrato_semitones: float
    glide_seconds: float


@dataclass(frozen=True)
class Vocal:
    """What `sing` returns."""

    sound: Array  # (samples,)
    f0_hz: Array  # (frames,): the pitch at sample frame · FRAME; 0 where nothing is voiced


@dataclass(frozen=True)
class Controls:
    """What the singer does in every control frame, 300 times per second."""

    f0_hz: Array  # (frames,)
    voice: Array  # (frames,): loudness
    formants_hz: Array  # (frames, 5)
    noise: Array  # (frames, bins): spectrum


def draw_singer(rng: np.random.Generator) -> Singer:
    """Draw the properties of a higher or a lower voice."""
    high = rng.random() < 0.6
    return Singer(
        centre=int(rng.integers(63, 67) if high else rng.integers(53, 58)),
        tract=float(rng.uniform(1.12, 1.22) if high else rng.uniform(0.97, 1.06)),
        open_quotient=float(rng.uniform(0.5, 0.7)),
        tilt_hz=float(rng.uniform(3500, 7000)),
        breathiness=float(rng.uniform(0.04, 0.12)),
        vibrato_hz=float(rng.uniform(5.0, 6.2)),
        vibrato_semitones=float(rng.uniform(0.2, 0.5)),
        glide_seconds=float(rng.uniform(0.06, 0.12)),
    )


def sing(melody: tuple[SungNote, ...], samples: int, singer: Singer, rng: np.random.Generator) -> Vocal:
    """Sing a melody: `samples` of mono sound, with the exact f0 of every control frame."""
    frames = -(-samples // FRAME) + 1
    controls = articulate(melody, frames, singer, rng)
    sound, turns = voiced_sound(controls, singer)
    rough = 1 + 0.6 * np.cos(turns)  # more breath passes while the vocal folds are open
    sound += noise_sound(controls.noise, rng)
    sound += rough * noise_sound(aspiration(controls, singer), rng)
    voiced = controls.voice > 0.01
    return Vocal(sound[:samples], np.where(voiced, controls.f0_hz, 0.0))


# --- what the singer does


def articulate(melody: tuple[SungNote, ...], frames: int, singer: Singer, rng: np.random.Generator) -> Controls:
    """Return the controls of a melody.

    At first they change in steps from one syllable to the next. Smoothing then makes them change as slowly as the body
    of a singer does.
    """
    voice = np.zeros(frames)
    formants = np.tile(np.array(FORMANTS["a"], dtype=float), (frames, 1))
    noise = np.zeros((frames, NOISE_SPECTRUM))
    previous_end = -1.0
    for note in melody:
        consonant = CONSONANTS.get(note.consonant)
        onset = note.start - (consonant.seconds if consonant else 0.0)
        if onset - previous_end > BREATH.seconds:
            add_noise(noise, onset - BREATH.seconds - 0.03, BREATH, singer.tract)
        write_vowels(voice, formants, note)
        if consonant:
            write_consonant(voice, formants, noise, note, consonant, singer.tract)
        previous_end = note.start + note.seconds
    return Controls(
        f0_hz=pitch_curve(melody, frames, singer, rng),
        voice=smoothed(voice, 0.035),
        formants_hz=singer.tract * np.stack([smoothed(track, 0.07) for track in formants.T], axis=1),
        noise=noise,
    )


def frame_slice(start: float, end: float, frames: int) -> slice:
    """Return the control frames from `start` to `end` seconds."""
    first, last = (round(t * FRAMES_PER_SECOND) for t in (start, end))
    return slice(min(max(first, 0), frames), min(max(last, 0), frames))


def write_vowels(voice: Array, formants: Array, note: SungNote) -> None:
    """Set loudness and formants of the vowel for the length of a note.

    The loudness rises and falls. A diphthong changes to its second vowel after six tenths of the note.
    """
    part = frame_slice(note.start, note.start + note.seconds, len(voice))
    count = part.stop - part.start
    progress = np.linspace(0, 1, count)
    voice[part] = note.velocity * (0.8 + 0.3 * np.sin(np.pi * progress**0.7)) * np.minimum(1, 6 * (1 - progress))
    turn = part.start + (round(0.6 * count) if len(note.vowels) > 1 else count)
    formants[part.start : turn] = FORMANTS[note.vowels[0]]
    formants[turn:] = FORMANTS[note.vowels[-1]]  # also in the rest that follows, until the next syllable


def write_consonant(
    voice: Array, formants: Array, noise: Array, note: SungNote, consonant: Consonant, tract: float
) -> None:
    """Set the consonant, which is before the note, so that the vowel begins on the beat."""
    part = frame_slice(note.start - consonant.seconds, note.start, len(voice))
    voice[part] = note.velocity * consonant.voice
    formants[part] = FORMANTS[consonant.locus or note.vowels[0]]
    if consonant.noise:
        add_noise(noise, note.start - consonant.seconds, consonant, tract)


def add_noise(noise: Array, start: float, consonant: Consonant, tract: float) -> None:
    """Add the noise of a consonant from `start` seconds on, after its closure.

    It rises fast and falls slowly. Its spectrum has a single peak.
    """
    part = frame_slice(start + consonant.closure * consonant.seconds, start + consonant.seconds + 0.01, len(noise))
    progress = np.linspace(0, 1, part.stop - part.start)
    rise = np.minimum(1, progress / (0.08 if consonant.closure else 0.45))
    frequencies = np.linspace(0, RATE / 2, NOISE_SPECTRUM)
    place = (frequencies - tract * consonant.centre_hz) / consonant.width_hz
    hill = 1 / (1 + place**2) ** 1.5 * np.minimum(1, frequencies / 300)
    noise[part] += consonant.noise * (rise * (1 - progress**2))[:, None] * hill


def pitch_curve(melody: tuple[SungNote, ...], frames: int, singer: Singer, rng: np.random.Generator) -> Array:
    """Return f0 in Hz, (frames,): notes with glides between them, rises at the start of phrases, vibrato and drift."""
    pitch, vibrato = np.zeros(frames), np.zeros(frames)
    previous_end = -1.0
    for note in melody:
        whole = frame_slice(note.start - 0.1, note.start + note.seconds, frames)
        pitch[whole.start :] = note.pitch
        if note.start - previous_end > 0.3:
            pitch[frame_slice(note.start - 0.1, note.start + 0.05, frames)] -= rng.uniform(0.3, 1.5)
        late = frame_slice(note.start + 0.3, note.start + note.seconds, frames)
        vibrato[late] = singer.vibrato_semitones if note.seconds > 0.45 else 0.0
        previous_end = note.start + note.seconds
    pitch[pitch < 1] = melody[0].pitch if melody else singer.centre
    rate = singer.vibrato_hz * (1 + 0.25 * wandering(frames, 0.8, rng))
    shake = smoothed(vibrato, 0.4) * np.sin(2 * np.pi * np.cumsum(rate) / FRAMES_PER_SECOND)
    drift = 0.12 * wandering(frames, 0.5, rng) + 0.02 * wandering(frames, 0.03, rng)
    return np.asarray(440 * 2 ** ((smoothed(pitch, singer.glide_seconds) + shake + drift - 69) / 12))


def smoothed(track: Array, seconds: float) -> Array:
    """Return the running mean over `seconds`, with Hann weights. The first and last values are repeated."""
    half = max(1, round(seconds * FRAMES_PER_SECOND / 2))
    window = np.hanning(2 * half + 3)[1:-1]
    return np.convolve(np.pad(track, half, mode="edge"), window / window.sum(), mode="valid")


def wandering(frames: int, seconds: float, rng: np.random.Generator) -> Array:
    """Return slow noise (frames,) of unit variance, which changes within about `seconds`."""
    track = smoothed(rng.normal(size=frames), seconds)
    return np.asarray(track / (track.std() + 1e-9))


# --- how it sounds


def glottal_harmonics(open_quotient: float, count: int) -> Array:
    """Return the Fourier coefficients 1 … count of the air flow's derivative, scaled so that the first has magnitude 1.

    The model of the vocal folds is KLGLOTT88 (Klatt & Klatt 1990).
    """
    phase = np.arange(8192) / 8192 / open_quotient
    flow_derivative = np.where(phase < 1, 2 * phase - 3 * phase**2, 0.0)
    coefficients = np.fft.rfft(flow_derivative)[1 : count + 1]
    return np.asarray(coefficients / np.abs(coefficients[0]))


def tract_gain(frequencies: Array, formants_hz: Array) -> Array:
    """Return the complex gain (frames, k) of five formants in series at some frequencies.

    A real vocal tract has more formants above these. A factor that rises with frequency replaces them.

    Args:
        frequencies: (frames, k) in Hz.
        formants_hz: (frames, 5).
    """
    gain: Array = np.ones(1, dtype=complex)
    for index, bandwidth in enumerate(BANDWIDTHS):
        formant = formants_hz[:, index : index + 1]
        gain = gain * formant**2 / (formant**2 - frequencies**2 + 1j * bandwidth * frequencies)
    return gain * (1 + (frequencies / 4500) ** 2) ** 3


def voiced_sound(controls: Controls, singer: Singer) -> tuple[Array, Array]:
    """Return the voiced sound, and the phase of its fundamental: both ((frames − 1) · FRAME,)."""
    f0 = between_frames(controls.f0_hz)
    turns = 2 * np.pi * np.cumsum(f0) / RATE
    sound = np.zeros_like(turns)
    for first, last in voiced_runs(controls.voice):
        part = slice(first * FRAME, last * FRAME)
        frames = slice(first, last + 1)
        sound[part] = harmonics(
            turns[part], controls.f0_hz[frames], controls.voice[frames], controls.formants_hz[frames], singer
        )
    return sound, turns


def voiced_runs(voice: Array) -> list[tuple[int, int]]:
    """Return the (first, last) frames of every voiced run, each with a silent frame at both ends where there is one."""
    sounding = np.concatenate([[False], voice > 1e-4, [False]])
    edges = np.flatnonzero(sounding[1:] != sounding[:-1])
    return [(max(start - 1, 0), min(end, len(voice) - 1)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def harmonics(turns: Array, f0_hz: Array, voice: Array, formants_hz: Array, singer: Singer) -> Array:
    """Return the sum of all harmonics below `HIGHEST_HARMONIC_HZ`: Σ Re(gain_k · e^{jk·turns})."""
    count = int(HIGHEST_HARMONIC_HZ / f0_hz.min())
    frequencies = f0_hz[:, None] * np.arange(1, count + 1)
    gains = tract_gain(frequencies, formants_hz) * glottal_harmonics(singer.open_quotient, count)
    tilt = 1 / np.sqrt(1 + (frequencies / singer.tilt_hz) ** 2)
    fade = np.clip((HIGHEST_HARMONIC_HZ - frequencies) / 2000, 0, 1)
    gains *= voice[:, None] * tilt * fade
    turn = np.exp(1j * turns)
    rotation, sound = np.ones_like(turn), np.zeros_like(turns)
    for gain in gains.T:
        rotation *= turn
        sound += (between_frames(gain) * rotation).real
    return sound


def between_frames(track: Array) -> Array:
    """Interpolate control values (frames,) linearly to samples ((frames − 1) · FRAME,)."""
    ramp = np.arange(FRAME) / FRAME
    lines: Array = track[:-1, None] + (track[1:] - track[:-1])[:, None] * ramp
    return lines.ravel()


def aspiration(controls: Controls, singer: Singer) -> Array:
    """Return the spectrum of the breath that is heard with the voice, (frames, bins)."""
    frequencies = np.linspace(0, RATE / 2, NOISE_SPECTRUM)[None, :]
    voiced = controls.voice > 1e-4
    spectrum = np.zeros((len(voiced), NOISE_SPECTRUM))
    gain = np.abs(tract_gain(frequencies, controls.formants_hz[voiced]))
    shape = np.minimum(1, (frequencies / 2500) ** 2) / (1 + (frequencies / 9000) ** 4)
    spectrum[voiced] = singer.breathiness * controls.voice[voiced, None] * np.minimum(gain, 8) * shape
    return spectrum


def noise_sound(spectrum: Array, rng: np.random.Generator) -> Array:
    """Return Gaussian noise ((frames − 1) · FRAME,) whose spectrum (frames, bins) changes over time."""
    frames, size = len(spectrum), 4 * FRAME
    loud = np.flatnonzero(spectrum.max(axis=1) > 1e-6)
    white = rng.normal(size=(len(loud), NOISE_SPECTRUM, 2)) @ np.array([1, 1j])
    grains = np.zeros((frames, size))
    grains[loud] = np.fft.irfft(spectrum[loud] * white, size) * np.hanning(size + 1)[:-1] * np.sqrt(size / 3)
    sound = np.zeros((frames + 3, FRAME))
    for quarter in range(4):
        sound[quarter : quarter + frames] += grains[:, quarter * FRAME : (quarter + 1) * FRAME]
    return sound[2 : frames + 1].ravel()
