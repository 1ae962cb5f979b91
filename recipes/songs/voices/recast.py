"""A recorded voice made into another's: WORLD moves its pitch and scales its formants."""

from __future__ import annotations

import numpy as np

from songs.voices.voicebank import world

FRAME_MS = 5.0
"""Milliseconds from one frame to the next."""


def recast(voice: np.ndarray, rate: int, semitones: float, formant: float) -> np.ndarray:
    """Return a voice (samples,) float32 with its pitch moved by `semitones` and its resonances scaled by `formant`.

    `rate` is in Hz.
    """
    pyworld = world()
    sound = voice.astype(np.float64)
    pitch, times = pyworld.dio(sound, rate, f0_floor=65.0, f0_ceil=900.0, frame_period=FRAME_MS)
    pitch = pyworld.stonemask(sound, pitch, times, rate)
    envelope = pyworld.cheaptrick(sound, pitch, times, rate)
    rough = pyworld.d4c(sound, pitch, times, rate)
    shaped = np.ascontiguousarray(scaled(envelope, formant))
    moved = pyworld.synthesize(pitch * 2 ** (semitones / 12), shaped, rough, rate, FRAME_MS)
    return np.asarray(np.pad(moved, (0, max(0, len(voice) - len(moved))))[: len(voice)], np.float32)


def scaled(envelope: np.ndarray, ratio: float) -> np.ndarray:
    """Scale the frequency axis of power envelopes (frames, bins): a ratio above 1 moves resonances up."""
    bins = envelope.shape[1]
    where = np.minimum(np.arange(bins) / ratio, bins - 1)
    low = np.floor(where).astype(int)
    part = where - low
    logs = np.log(envelope + 1e-16)
    moved: np.ndarray = np.exp(logs[:, low] * (1 - part) + logs[:, np.minimum(low + 1, bins - 1)] * part)
    return moved
