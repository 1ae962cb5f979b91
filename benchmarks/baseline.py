"""The bar to beat: four stems out of a stereo mixture without any training, by masks on one spectrogram.

Drums are what is percussive, the kick included; of the harmonic part, bass is what lies below 150 Hz, vocals are what
lies above it in the centre of the stereo image. Other is the rest, so the stems add up to the mixture. The settings are
reasonable rather than optimal: a few were tried on songs, and another window trades one stem for another by some
tenths of a dB.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import istft, stft

WINDOW = 2048
HOP = 512
HARMONIC_FRAMES = 17  # 0.2 s at 44.1 kHz
PERCUSSIVE_BINS = 11  # 237 Hz
BASS_HZ = 150.0
VOICE_HZ = (150.0, 8000.0)
CENTRE_SHARPNESS = 4.0


def separate_classically(mixture: np.ndarray, sample_rate: int = 44100) -> dict[str, np.ndarray]:
    """Mixture (2, samples) → drums, bass, other, vocals, each float32 (2, samples)."""
    spectrum = to_spectrum(mixture, sample_rate)
    masks = stem_masks(spectrum, sample_rate)
    stems = {name: to_samples(mask * spectrum, mixture.shape[1], sample_rate) for name, mask in masks.items()}
    stems["other"] = mixture - stems["drums"] - stems["bass"] - stems["vocals"]
    return {name: stems[name].astype(np.float32) for name in ("drums", "bass", "other", "vocals")}


def stem_masks(spectrum: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Masks (bins, frames) in 0..1 that leave something for `other`; spectrum (2, bins, frames)."""
    frequencies = np.fft.rfftfreq(WINDOW, 1 / sample_rate)[:, None]
    percussive = percussive_mask(np.sqrt(np.mean(np.abs(spectrum) ** 2, axis=0)))
    low = frequencies < BASS_HZ
    voice_range = (frequencies >= VOICE_HZ[0]) & (frequencies <= VOICE_HZ[1])
    harmonic = 1 - percussive
    return {
        "drums": percussive,
        "bass": harmonic * low,
        "vocals": harmonic * voice_range * centre_mask(spectrum),
    }


def percussive_mask(magnitude: np.ndarray) -> np.ndarray:
    """Share of each bin that stands in a vertical line rather than a horizontal one (Fitzgerald 2010, eq. 5–9)."""
    harmonic = median_filter(magnitude, size=(1, HARMONIC_FRAMES)) ** 2
    percussive = median_filter(magnitude, size=(PERCUSSIVE_BINS, 1)) ** 2
    return percussive / (percussive + harmonic + 1e-20)


def centre_mask(spectrum: np.ndarray) -> np.ndarray:
    """1 where left and right are equal, 0 where they have nothing in common (Avendano 2003), sharpened."""
    left, right = spectrum
    similarity = 2 * (left * right.conj()).real / (np.abs(left) ** 2 + np.abs(right) ** 2 + 1e-20)
    return np.maximum(similarity, 0) ** CENTRE_SHARPNESS


def ideal_ratio_masks(
    stems: dict[str, np.ndarray], mixture: np.ndarray, sample_rate: int = 44100
) -> dict[str, np.ndarray]:
    """The oracle: the mixture's spectrogram shared out by the true magnitudes (IRM of SiSEC 2018, α = 1)."""
    magnitudes = {name: np.abs(to_spectrum(stem, sample_rate)) for name, stem in stems.items()}
    total = sum(magnitudes.values(), np.float32(1e-10))
    spectrum = to_spectrum(mixture, sample_rate)
    return {
        name: to_samples(magnitude / total * spectrum, mixture.shape[1], sample_rate)
        for name, magnitude in magnitudes.items()
    }


def to_spectrum(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """(channels, samples) → (channels, bins, frames); less than a window is padded to one."""
    sound = np.pad(sound, ((0, 0), (0, max(0, WINDOW - sound.shape[1]))))
    return stft(sound, sample_rate, nperseg=WINDOW, noverlap=WINDOW - HOP, padded=True)[2]


def to_samples(spectrum: np.ndarray, samples: int, sample_rate: int) -> np.ndarray:
    """The inverse of `to_spectrum`, cut to `samples`."""
    return istft(spectrum, sample_rate, nperseg=WINDOW, noverlap=WINDOW - HOP)[1][:, :samples].astype(np.float32)
