"""Effects: filters, panning, saturation, compression, reverberation, echoes.

Arrays are float32 (channels, samples) or (samples,), at 44.1 kHz.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, signal

RATE = 44100
"""Sample rate of all songs in Hz."""


def pan(mono: np.ndarray, position: float) -> np.ndarray:
    """Place (samples,) in the stereo field at constant power, from -1 (left) to 1 (right); return (2, samples)."""
    angle = (position + 1) * np.pi / 4
    sides = np.stack([np.cos(angle) * mono, np.sin(angle) * mono]).astype(np.float32)
    stereo: np.ndarray = sides * np.float32(np.sqrt(2))
    return stereo


def balance(stereo: np.ndarray, position: float) -> np.ndarray:
    """Shift (2, samples) to a side, from -1 (left) to 1 (right), by turning the other side down."""
    gains = np.array([[min(1.0, 1 - position)], [min(1.0, 1 + position)]], np.float32)
    return stereo * gains


def narrow(stereo: np.ndarray, width: float) -> np.ndarray:
    """Scale the side signal of (2, samples): 0 makes it mono, 1 leaves it as it is."""
    middle, side = stereo.mean(0), (stereo[0] - stereo[1]) / 2 * width
    return np.stack([middle + side, middle - side])


def highpass(audio: np.ndarray, hertz: float, order: int = 2) -> np.ndarray:
    """Let what is above `hertz` pass, through a Butterworth filter along the last axis."""
    return _filter(audio, signal.butter(order, hertz, "highpass", fs=RATE, output="sos"))


def lowpass(audio: np.ndarray, hertz: float, order: int = 2) -> np.ndarray:
    """Let what is below `hertz` pass, through a Butterworth filter along the last axis."""
    return _filter(audio, signal.butter(order, min(hertz, RATE * 0.49), "lowpass", fs=RATE, output="sos"))


def _filter(audio: np.ndarray, sections: np.ndarray) -> np.ndarray:
    filtered: np.ndarray = signal.sosfilt(sections.astype(np.float32), audio.astype(np.float32), axis=-1)
    return filtered.astype(np.float32)


def shelf(audio: np.ndarray, hertz: float, decibels: float, *, high: bool) -> np.ndarray:
    """Raise or lower all above (`high`) or below `hertz`: the shelving filter of the audio EQ cookbook.

    R. Bristow-Johnson, Cookbook formulae for audio EQ biquad filter coefficients; the slope is 1.
    """
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
    """Raise or lower the band around `hertz`: the peaking filter of the audio EQ cookbook."""
    a, w = 10 ** (decibels / 40), 2 * np.pi * hertz / RATE
    alpha, c = np.sin(w) / (2 * quality), np.cos(w)
    b, d = [1 + alpha * a, -2 * c, 1 - alpha * a], [1 + alpha / a, -2 * c, 1 - alpha / a]
    return _filter(audio, np.array([[*b, *d]]) / d[0])


def widen(stereo: np.ndarray, seconds: float, gain: float) -> np.ndarray:
    """Add a delayed copy of the middle of (2, samples) to both sides, with opposite signs: mono stays the same."""
    delay = max(1, round(seconds * RATE))
    late = np.pad(stereo.mean(0), (delay, 0))[: stereo.shape[1]] * np.float32(gain)
    wide: np.ndarray = stereo + np.stack([late, -late])
    return wide


def saturate(audio: np.ndarray, drive: float) -> np.ndarray:
    """Distort by tanh, relative to the level that 99 % of the samples keep to; the level stays about the same."""
    level = float(np.percentile(np.abs(audio[..., ::7]), 99)) if audio.size else 0.0
    if level <= 1e-6:
        return audio
    driven: np.ndarray = np.tanh(audio * (drive / level)) * (level / np.tanh(drive))
    return driven.astype(np.float32)


def compress(audio: np.ndarray, ratio: float, threshold_db: float = -12.0) -> np.ndarray:
    """Turn down what is louder than a threshold relative to the loudest moment, by a running RMS of 20 ms."""
    power = np.mean(np.atleast_2d(audio) ** 2, axis=0)
    envelope = np.sqrt(np.maximum(signal.lfilter([0.0012], [1, -0.9988], power), 1e-12))
    threshold = envelope.max(initial=1e-6) * 10 ** (threshold_db / 20)
    turned_down: np.ndarray = audio * np.minimum(1.0, (envelope / threshold) ** (1 / ratio - 1))
    return turned_down.astype(np.float32)


def reverb(stereo: np.ndarray, impulse: np.ndarray, wet: float) -> np.ndarray:
    """Add the convolution with an impulse response (2, taps), `wet` times as loud as the stem by RMS.

    What lies below 150 Hz gets no room. The length stays the same.
    """
    send = highpass(stereo, 150.0)
    tail = convolve(send, impulse)
    dry_level, wet_level = float(np.sqrt(np.mean(stereo**2))), float(np.sqrt(np.mean(tail**2)))
    if wet_level <= 1e-9:
        return stereo
    in_room: np.ndarray = stereo + tail * np.float32(wet * dry_level / wet_level)
    return in_room


def convolve(stereo: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """Return the convolution of (2, samples) with (2, taps), without what lies past the end.

    It is done in blocks, as scipy's oaconvolve does it, in a third of the time.
    """
    samples, taps = stereo.shape[1], impulse.shape[1]
    size = 1 << int(np.clip(np.ceil(np.log2(4 * taps)), 12, 19))
    step = size - taps + 1
    filtering = fft.rfft(impulse.astype(np.float32), size, axis=1)
    out = np.zeros((2, samples + size), np.float32)
    for first in range(0, samples, step):
        block = fft.rfft(stereo[:, first : first + step], size, axis=1)
        out[:, first : first + size] += fft.irfft(block * filtering, size, axis=1)
    return out[:, :samples]


def echo(audio: np.ndarray, seconds: float, feedback: float, repeats: int = 4) -> np.ndarray:
    """Add repeats to (2, samples) after every `seconds`, each `feedback` times the one before, on the other side."""
    step = round(seconds * RATE)
    out: np.ndarray = audio.copy()
    for count in range(1, repeats + 1):
        if step * count < audio.shape[1]:
            source = audio[::-1] if count % 2 else audio
            out[:, step * count :] += np.float32(feedback**count) * source[:, : audio.shape[1] - step * count]
    return out


def chorus(audio: np.ndarray, hertz: float, depth: float) -> np.ndarray:
    """Add a copy to (2, samples) whose delay swings `hertz` times a second by `depth` seconds.

    Left and right swing in opposite phase.
    """
    index = np.arange(audio.shape[1], dtype=np.float64)
    swing = depth * RATE * (1.1 + np.sin(2 * np.pi * hertz * index / RATE))
    other = depth * RATE * (1.1 - np.sin(2 * np.pi * hertz * index / RATE))
    delayed = [np.interp(index - delay, index, side) for delay, side in zip((swing, other), audio, strict=True)]
    both: np.ndarray = 0.7 * (audio + np.stack(delayed))
    return both.astype(np.float32)


def ducking(times: list[float], samples: int, depth: float, recovery: float = 0.25) -> np.ndarray:
    """Return a gain curve (samples,) that falls by `depth` at each time (s), and is back after `recovery` seconds."""
    gain, length = np.ones(samples, np.float32), round(recovery * RATE)
    dip = (1 - depth * (1 - np.linspace(0, 1, length)) ** 2 * np.minimum(1, np.arange(length) / 200)).astype(np.float32)
    for time in times:
        first = max(round(time * RATE), 0)
        part = gain[first : first + length]
        part[:] = np.minimum(part, dip[: len(part)])
    return gain
