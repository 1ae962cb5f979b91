"""A spectrogram over log-frequency, for a picture. Its memory is bounded, however long the audio is."""

from __future__ import annotations

import numpy as np

SAMPLE_RATE = 16_000
LOWEST_MIDI, HIGHEST_MIDI = 24.0, 108.0  # 33 Hz … 4.2 kHz
_STEPS = 3  # bins per semitone
_WINDOW, _HOP = 2048, 256  # samples: 128 ms resolves the harmonics of a low voice, 16 ms follows its movements
_COLUMNS = 16_384  # 14 MB
_BLOCK = 1 << 16  # samples worked on at a time


class Spectrogram:
    """The mean power in bins of a third of a semitone, and in columns of equal time.

    A column is 16 ms at first. Whenever there are more than `columns` of them, neighbours are averaged in pairs, and
    columns are twice as long from then on.
    """

    def __init__(self, columns: int = _COLUMNS) -> None:
        if columns < 2 or columns % 2:
            raise ValueError(f"columns are averaged in pairs: an even number of them, not {columns}")
        self._bands = _bands()
        self._limit, self._frames_per_column = columns, 1
        self._done: list[np.ndarray] = []  # finished columns in order, (k, bins) each
        self._columns = 0  # how many these are together
        self._pending = np.zeros((0, len(self._bands)), np.float32)  # frames that do not fill a column yet
        self._rest = np.zeros(_WINDOW // 2, np.float32)  # half a window of silence: column 0 is centred at sample 0
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Length of the audio so far, in seconds."""
        return self._samples / SAMPLE_RATE

    @property
    def column_seconds(self) -> float:
        """Seconds from column to column."""
        return self._frames_per_column * _HOP / SAMPLE_RATE

    def add(self, samples: np.ndarray) -> None:
        """Append mono audio (n,) at 16 kHz."""
        if samples.ndim != 1:
            raise ValueError(f"mono audio has the shape (samples,), not {samples.shape}")
        self._samples += len(samples)
        for start in range(0, len(samples), _BLOCK):
            audio = np.concatenate([self._rest, samples[start : start + _BLOCK].astype(np.float32)])
            frames = self._powers(audio)
            self._rest = audio[len(frames) * _HOP :]
            self._append(frames)

    def decibels(self) -> np.ndarray:
        """Return the levels so far, (bins, columns) float32 with the lowest bin first. The loudest is 0 dB."""
        tail = self._powers(np.concatenate([self._rest, np.zeros(_WINDOW // 2, np.float32)]))
        last = np.concatenate([self._pending, tail])
        count = self._frames_per_column
        groups = [last[i : i + count].mean(axis=0, keepdims=True) for i in range(0, len(last), count)]
        power = np.concatenate([*self._done, *groups, np.zeros((0, len(self._bands)), np.float32)]).T
        loudest = max(float(power.max(initial=0.0)), 1e-12)
        return np.asarray(10 * np.log10(np.maximum(power / loudest, 1e-12)), np.float32)

    def _powers(self, audio: np.ndarray) -> np.ndarray:
        """Return the power (frames, bins) of all complete windows in the samples (n,)."""
        if len(audio) < _WINDOW:
            return np.zeros((0, len(self._bands)), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(np.nan_to_num(audio), _WINDOW)[::_HOP]
        spectrum = np.fft.rfft(windows * np.hanning(_WINDOW + 1)[:-1].astype(np.float32), axis=1)
        power = np.abs(spectrum[:, : self._bands.shape[1]]) ** 2
        return np.asarray(power @ self._bands.T, np.float32)

    def _append(self, frames: np.ndarray) -> None:
        frames = np.concatenate([self._pending, frames])
        count = self._frames_per_column
        whole = len(frames) // count
        self._done.append(frames[: whole * count].reshape(whole, count, len(self._bands)).mean(axis=1))
        self._pending = frames[whole * count :]
        self._columns += whole
        while self._columns > self._limit:
            self._halve()

    def _halve(self) -> None:
        """Average neighbouring columns in pairs. If the last one has no partner, it becomes frames again and waits."""
        done, even = np.concatenate(self._done), self._columns // 2 * 2
        self._done = [done[:even].reshape(even // 2, 2, len(self._bands)).mean(axis=1)]
        self._pending = np.concatenate([np.repeat(done[even:], self._frames_per_column, axis=0), self._pending])
        self._columns = even // 2
        self._frames_per_column *= 2


def _bands() -> np.ndarray:
    """Return triangular filters (bins, FFT bins), one per third of a semitone.

    Each is at least as wide as the distance of two FFT bins.
    """
    midi = np.arange(LOWEST_MIDI * _STEPS, HIGHEST_MIDI * _STEPS + 1) / _STEPS
    centre = 440 * 2 ** ((midi - 69) / 12)
    spacing = SAMPLE_RATE / _WINDOW
    reach = np.maximum(centre * (2 ** (1 / 12 / _STEPS) - 1), spacing)[:, None]
    hz = np.arange(0, centre[-1] + 2 * spacing + reach[-1, 0], spacing)
    weights = np.maximum(1 - np.abs(hz - centre[:, None]) / reach, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
