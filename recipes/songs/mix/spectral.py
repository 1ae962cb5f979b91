"""Filters that move, made in the short-time spectrum: every frame is multiplied by a magnitude.

The phase stays as it is. Arrays are float32 (samples,) at 44.1 kHz.
"""

from __future__ import annotations

import numpy as np

from songs.mix.effects import RATE

SIZE, HOP = 1024, 256
"""Samples of a frame, and from one frame to the next."""
HERTZ = np.fft.rfftfreq(SIZE, 1 / RATE).astype(np.float32)
"""Frequency of every bin."""
_WINDOW = np.hanning(SIZE + 1)[:SIZE].astype(np.float32)


def frames_of(samples: int) -> int:
    """Return the number of frames that cover so many samples."""
    return -(-samples // HOP) + SIZE // HOP


def frame_samples(samples: int) -> np.ndarray:
    """Return the sample (frames,) at the middle of each frame; the first ones lie before the sound, or past its end."""
    return np.clip(np.arange(frames_of(samples)) * HOP - SIZE // 2 + HOP, 0, max(samples - 1, 0))


def filtered(audio: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Multiply the spectrum of each frame by `magnitude` (frames, bins); the frames are those of `frame_samples`."""
    from scipy import fft

    samples, first = len(audio), SIZE - HOP
    frames = _framed(audio)
    shaped = fft.irfft(fft.rfft(frames * _WINDOW, axis=1) * magnitude, SIZE, axis=1) * (_WINDOW / 1.5)
    out = np.zeros((len(frames) - 1) * HOP + SIZE, np.float32)
    rows = out.reshape(-1, HOP)
    for part in range(SIZE // HOP):  # each quarter of all frames at once
        rows[part : part + len(frames)] += shaped[:, part * HOP : (part + 1) * HOP]
    return out[first : first + samples]


def magnitudes(audio: np.ndarray) -> np.ndarray:
    """Return the magnitude (frames, bins) of the spectrum of each frame; the frames are those of `frame_samples`."""
    from scipy import fft

    size: np.ndarray = np.abs(fft.rfft(_framed(audio) * _WINDOW, axis=1)).astype(np.float32)
    return size


def _framed(audio: np.ndarray) -> np.ndarray:
    """Return the samples of every frame, (frames, SIZE)."""
    padded = np.zeros((frames_of(len(audio)) - 1) * HOP + SIZE, np.float32)
    padded[SIZE - HOP : SIZE - HOP + len(audio)] = audio
    return np.lib.stride_tricks.sliding_window_view(padded, SIZE)[::HOP]


def lowpass_magnitude(cutoff: np.ndarray, resonance: float, poles: int = 4) -> np.ndarray:
    """Return the magnitude (frames, bins) of a resonant low-pass.

    Args:
        cutoff: Its frequency in Hz at each frame, (frames,).
        resonance: The gain at that frequency; about 0.7 has no peak.
        poles: 2, or 4 for a steeper one.
    """
    ratio = HERTZ[None] / np.maximum(cutoff, 20.0).astype(np.float32)[:, None]
    square = ratio * ratio
    power = (1 - square) ** 2 + square / np.float32(resonance**2)
    magnitude: np.ndarray = 1 / np.sqrt(power)
    return magnitude if poles == 2 else magnitude / np.sqrt(1 + square)


def swept(audio: np.ndarray, cutoff: np.ndarray, resonance: float, poles: int = 4) -> np.ndarray:
    """Put audio through a resonant low-pass whose cutoff (samples,) in Hz moves; see `lowpass_magnitude`."""
    at = frame_samples(len(audio))
    return filtered(audio, lowpass_magnitude(cutoff[at], resonance, poles))


def peaks_magnitude(centres: np.ndarray, widths: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return the magnitude (frames, bins) of resonances, such as the formants of a vowel.

    Args:
        centres: Their frequencies in Hz, (frames, peaks).
        widths: Their widths in Hz, (peaks,).
        gains: Their gains, (peaks,).
    """
    total = np.full((len(centres), len(HERTZ)), 0.02, np.float32)
    for index in range(centres.shape[1]):
        away = (HERTZ[None] - centres[:, index : index + 1].astype(np.float32)) / np.float32(widths[index])
        total += np.float32(gains[index]) / (1 + away * away)
    return total
