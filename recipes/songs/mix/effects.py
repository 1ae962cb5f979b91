"""Small linear and non-linear treatments of a stem: filters, saturation, compression, reverb, panning.

Arrays are float32 (channels, samples) or (samples,), at 44.1 kHz unless a rate is given.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

RATE = 44100


def pan(mono: np.ndarray, position: float) -> np.ndarray:
    """Place (samples,) in the stereo field by constant power; position -1 left … 1 right; returns (2, samples)."""
    angle = (position + 1) * np.pi / 4
    return np.stack([np.cos(angle) * mono, np.sin(angle) * mono]).astype(np.float32) * np.float32(np.sqrt(2))


def balance(stereo: np.ndarray, position: float) -> np.ndarray:
    """Shift (2, samples) to a side by turning the other side down."""
    gains = np.array([[min(1.0, 1 - position)], [min(1.0, 1 + position)]], np.float32)
    return stereo * gains


def narrow(stereo: np.ndarray, width: float) -> np.ndarray:
    """Scale the side signal of (2, samples): 0 mono, 1 unchanged."""
    middle, side = stereo.mean(0), (stereo[0] - stereo[1]) / 2 * width
    return np.stack([middle + side, middle - side])


def highpass(audio: np.ndarray, hertz: float, order: int = 2) -> np.ndarray:
    """Butterworth high-pass along the last axis."""
    return _filter(audio, signal.butter(order, hertz, "highpass", fs=RATE, output="sos"))


def lowpass(audio: np.ndarray, hertz: float, order: int = 2) -> np.ndarray:
    """Butterworth low-pass along the last axis."""
    return _filter(audio, signal.butter(order, min(hertz, RATE * 0.49), "lowpass", fs=RATE, output="sos"))


def _filter(audio: np.ndarray, sections: np.ndarray) -> np.ndarray:
    return signal.sosfilt(sections.astype(np.float32), audio.astype(np.float32), axis=-1).astype(np.float32)


def shelf(audio: np.ndarray, hertz: float, decibels: float, *, high: bool) -> np.ndarray:
    """Shelving filter of the audio EQ cookbook (R. Bristow-Johnson), slope 1."""
    a, w = 10 ** (decibels / 40), 2 * np.pi * hertz / RATE
    s = -1.0 if high else 1.0
    c, alpha = np.cos(w), np.sin(w) / np.sqrt(2)
    root = 2 * np.sqrt(a) * alpha
    b = [a * ((a + 1) - s * (a - 1) * c + root), s * 2 * a * ((a - 1) - s * (a + 1) * c),
         a * ((a + 1) - s * (a - 1) * c - root)]  # fmt: skip
    d = [(a + 1) + s * (a - 1) * c + root, -s * 2 * ((a - 1) + s * (a + 1) * c),
         (a + 1) + s * (a - 1) * c - root]  # fmt: skip
    return _filter(audio, np.array([[*b, *d]]) / d[0])


def bell(audio: np.ndarray, hertz: float, decibels: float, quality: float) -> np.ndarray:
    """Peaking filter of the audio EQ cookbook."""
    a, w = 10 ** (decibels / 40), 2 * np.pi * hertz / RATE
    alpha, c = np.sin(w) / (2 * quality), np.cos(w)
    b, d = [1 + alpha * a, -2 * c, 1 - alpha * a], [1 + alpha / a, -2 * c, 1 - alpha / a]
    return _filter(audio, np.array([[*b, *d]]) / d[0])


def widen(stereo: np.ndarray, seconds: float, gain: float) -> np.ndarray:
    """Add a delayed copy of the middle to the sides with opposite signs: (2, samples), the same in mono."""
    delay = max(1, round(seconds * RATE))
    late = np.pad(stereo.mean(0), (delay, 0))[: stereo.shape[1]] * np.float32(gain)
    return stereo + np.stack([late, -late])


def saturate(audio: np.ndarray, drive: float) -> np.ndarray:
    """tanh waveshaping around the signal's own 99th percentile level; the level in is about the level out."""
    level = float(np.percentile(np.abs(audio[..., ::7]), 99)) if audio.size else 0.0
    if level <= 1e-6:
        return audio
    return (np.tanh(audio * (drive / level)) * (level / np.tanh(drive))).astype(np.float32)


def compress(audio: np.ndarray, ratio: float, threshold_db: float = -12.0) -> np.ndarray:
    """Turn down what exceeds a threshold below the peak level; the envelope is a 20 ms running RMS."""
    power = np.mean(np.atleast_2d(audio) ** 2, axis=0)
    envelope = np.sqrt(np.maximum(signal.lfilter([0.0012], [1, -0.9988], power), 1e-12))
    threshold = envelope.max(initial=1e-6) * 10 ** (threshold_db / 20)
    return (audio * np.minimum(1.0, (envelope / threshold) ** (1 / ratio - 1))).astype(np.float32)


def reverb(stereo: np.ndarray, impulse: np.ndarray, wet: float) -> np.ndarray:
    """Dry plus `wet` (a gain of RMS) times the convolution with a stereo impulse (2, taps); length unchanged."""
    send = highpass(stereo, 150.0)
    tail = signal.oaconvolve(send, impulse, axes=-1)[:, : stereo.shape[1]].astype(np.float32)
    dry_level, wet_level = float(np.sqrt(np.mean(stereo**2))), float(np.sqrt(np.mean(tail**2)))
    if wet_level <= 1e-9:
        return stereo
    return stereo + tail * np.float32(wet * dry_level / wet_level)


def echo(audio: np.ndarray, seconds: float, feedback: float, repeats: int = 4) -> np.ndarray:
    """Repeats after `seconds`, each `feedback` times the one before and on the other side; (2, samples)."""
    step, out = round(seconds * RATE), audio.copy()
    for count in range(1, repeats + 1):
        if step * count < audio.shape[1]:
            source = audio[::-1] if count % 2 else audio
            out[:, step * count :] += np.float32(feedback**count) * source[:, : audio.shape[1] - step * count]
    return out


def chorus(audio: np.ndarray, hertz: float, depth: float) -> np.ndarray:
    """Add a copy whose delay swings by `depth` seconds, in opposite phase left and right; (2, samples)."""
    index = np.arange(audio.shape[1], dtype=np.float64)
    swing = depth * RATE * (1.1 + np.sin(2 * np.pi * hertz * index / RATE))
    other = depth * RATE * (1.1 - np.sin(2 * np.pi * hertz * index / RATE))
    delayed = [np.interp(index - delay, index, side) for delay, side in zip((swing, other), audio, strict=True)]
    return (0.7 * (audio + np.stack(delayed))).astype(np.float32)


def ducking(times: list[float], samples: int, depth: float, recovery: float = 0.25) -> np.ndarray:
    """A gain curve (samples,) that falls by `depth` at each time (s) and comes back within `recovery` seconds."""
    gain, length = np.ones(samples, np.float32), round(recovery * RATE)
    dip = (1 - depth * (1 - np.linspace(0, 1, length)) ** 2 * np.minimum(1, np.arange(length) / 200)).astype(np.float32)
    for time in times:
        first = max(round(time * RATE), 0)
        part = gain[first : first + length]
        part[:] = np.minimum(part, dip[: len(part)])
    return gain
