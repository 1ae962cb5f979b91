"""A rough model of an electric guitar's amplifier: distortion, and the band that the loudspeaker lets through."""

from __future__ import annotations

import numpy as np

from songs.mix import effects


def amplify(rng: np.random.Generator, audio: np.ndarray) -> np.ndarray:
    """Play float32 (2, samples) through a random amplifier, from hardly any distortion to a lot."""
    drive = float(np.exp(rng.uniform(0, np.log(40))))
    bias = float(rng.uniform(0, 0.3))
    tight = effects.highpass(audio, float(rng.uniform(60, 250)), 1)
    level = float(np.percentile(np.abs(tight[..., ::7]), 99)) + 1e-9
    driven = np.tanh(drive * tight / level + bias) - np.tanh(np.float32(bias))
    return cabinet(rng, (driven * level).astype(np.float32))


def cabinet(rng: np.random.Generator, audio: np.ndarray) -> np.ndarray:
    """Keep the band of a random guitar loudspeaker.

    It has nothing below about 90 Hz, a peak at 2 to 3 kHz, and falls steeply above 4 to 6.5 kHz.
    """
    audio = effects.highpass(audio, float(rng.uniform(70, 120)))
    audio = effects.bell(audio, float(rng.uniform(300, 600)), float(rng.uniform(-6, 0)), 1.0)
    audio = effects.bell(audio, float(rng.uniform(1800, 3500)), float(rng.uniform(0, 7)), 1.0)
    return effects.lowpass(audio, float(rng.uniform(4000, 6500)), 4)
