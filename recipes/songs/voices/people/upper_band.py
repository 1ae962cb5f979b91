"""What lies above the band of recorded speech: noise with an envelope that goes on from the recorded one.

Speech above 8 kHz is nearly all noise: that of fricatives, bursts and breath. So noise fills it, and no overtones are
made up. Its level and slope are those at the top of the recorded band, frame by frame.
"""

from __future__ import annotations

import numpy as np

from songs.mix import spectral
from songs.mix.effects import RATE
from songs.voices.people import talk
from songs.voices.people.talk import HERTZ
from songs.voices.voicebank import FRAME_SECONDS

_FROM, _FULL = 7300.0, 8000.0  # Hz between which the noise comes in, where the recorded band ends
_FITTED = (HERTZ > 4000) & (HERTZ < 7200)
_ANCHOR = (HERTZ > 5800) & (HERTZ < 7200)
_ANCHOR_HERTZ = 6500.0
_VOICED_SLOPE, _NOISY_SLOPE = (-5.0, -2.0), (-3.0, -0.3)  # natural logarithm of the power per octave
_STEEPER, _STEEPER_HERTZ = -4.0, 13000.0  # no voice has much above this
_PULSING = 0.7  # how far the breath of a vowel follows the glottis
_LOWEST = -20.0  # natural logarithm of a power that is silence

_ABOVE = spectral.HERTZ > _FROM
_OCTAVES = np.log2(spectral.HERTZ[_ABOVE] / np.float32(_ANCHOR_HERTZ))
_FALL = 0.5 * _STEEPER * np.maximum(np.log2(spectral.HERTZ[_ABOVE] / np.float32(_STEEPER_HERTZ)), 0)
_ENTRY = np.clip((spectral.HERTZ[_ABOVE] - np.float32(_FROM)) / np.float32(_FULL - _FROM), 0, 1)


def upper_band(rng: np.random.Generator, logs: np.ndarray, f0: np.ndarray, samples: int) -> np.ndarray:
    """Return the noise above the recorded band, (samples,) float32 at 44.1 kHz.

    Args:
        rng: The source of the noise.
        logs: Natural logarithm of the power in frames of 5 ms, (frames, talk.BINS).
        f0: The pitch of every frame in Hz, 0 where there is none.
        samples: How much is wanted.
    """
    level, slope = extrapolate(logs, f0 > 0)
    at = spectral.frame_samples(samples) / (RATE * FRAME_SECONDS)
    frames = np.arange(len(level))
    level, slope = (np.interp(at, frames, line).astype(np.float32) for line in (level, slope))
    heard = level > _LOWEST
    magnitude = np.zeros((len(at), len(spectral.HERTZ)), np.float32)
    half = slope[heard, None] * (0.5 * _OCTAVES) + (0.5 * level[heard, None] + _FALL)
    magnitude[np.ix_(heard, _ABOVE)] = np.exp(half, out=half) * _ENTRY
    noise = rng.standard_normal(samples, np.float32) * np.float32(np.sqrt(RATE / talk.RATE))
    band: np.ndarray = spectral.filtered(noise, magnitude) * _pulses(f0, samples)
    return band


def extrapolate(logs: np.ndarray, voiced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of the power at 6.5 kHz and its slope per octave, both (frames,)."""
    octaves = np.log2(HERTZ[_FITTED] / _ANCHOR_HERTZ).astype(np.float32)
    centred = octaves - octaves.mean()
    slope = logs[:, _FITTED] @ centred / (centred @ centred)
    level = logs[:, _ANCHOR].mean(1)
    steep = np.where(voiced, np.clip(slope, *_VOICED_SLOPE), np.clip(slope, *_NOISY_SLOPE))
    return level, steep


def _pulses(f0: np.ndarray, samples: int) -> np.ndarray:
    """Return gains (samples,) that swing with the pitch where there is one."""
    time = np.arange(samples) / (RATE * FRAME_SECONDS)
    turns = np.interp(time, np.arange(len(f0)), np.cumsum(f0) * FRAME_SECONDS)
    depth = np.where(f0 > 0, np.float32(_PULSING), np.float32(0))[np.minimum(time.astype(int), len(f0) - 1)]
    gains: np.ndarray = 1 + depth * np.cos(np.float32(2 * np.pi) * (turns % 1).astype(np.float32))
    return gains
