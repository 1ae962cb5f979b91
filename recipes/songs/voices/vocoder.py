"""A vocoder: chords that speak.

H. Dudley, Remaking speech, JASA 11(2), 1939; here in the short-time spectrum.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from songs.composition.score import Form
from songs.mix import effects, spectral
from songs.mix.effects import RATE

_BAND = 11  # bins over which the voice's spectrum is averaged


def vocode(rng: np.random.Generator, form: Form, voice: np.ndarray, centre: float) -> np.ndarray:
    """Return the song's chords around `centre` (MIDI), with the spectrum of a voice (samples,) and its hissing."""
    shape = ndimage.uniform_filter1d(spectral.magnitudes(voice), _BAND, axis=1, mode="nearest")
    carrier = pulses(form, len(voice), centre)
    hiss = rng.standard_normal(len(voice)).astype(np.float32)
    carrier = effects.lowpass(carrier, 6000.0, 2) + 0.5 * effects.highpass(hiss * np.std(carrier), 4000.0, 2)
    scale = max(float(np.std(carrier)), 1e-9) * np.sqrt(spectral.SIZE)
    return spectral.filtered(np.asarray(carrier / scale, np.float32), shape)


def pulses(form: Form, samples: int, centre: float) -> np.ndarray:
    """Return the chords of a song as trains of pulses, whose overtones are equally loud: (samples,)."""
    audio = np.zeros(samples, np.float32)
    for chord in form.chords:
        first, last = round(form.seconds(chord.start) * RATE), round(form.seconds(chord.start + chord.beats) * RATE)
        time = np.arange(max(min(last, samples) - first, 0)) / RATE
        for interval in chord.intervals:
            pitch = chord.root + interval + 12 * round((centre - chord.root - interval) / 12)
            phase = time * 440 * 2 ** ((pitch - 69) / 12) % 1
            audio[first : first + len(time)] += np.diff(phase, prepend=0).astype(np.float32) < -0.5
    return audio - audio.mean() if samples else audio
