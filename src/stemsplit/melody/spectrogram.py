"""A spectrogram over log-frequency for a picture, of audio of any length in bounded memory."""

from __future__ import annotations

import numpy as np

SAMPLE_RATE = 16_000
LOWEST_MIDI, HIGHEST_MIDI = 24.0, 108.0  # 33 Hz … 4.2 kHz
_STEPS = 3  # bins per semitone
_WINDOW, _HOP = 2048, 256  # samples: 128 ms sees the harmonics of a low voice, 16 ms moves with it
_COLUMNS = 16_384  # 14 MB
_BLOCK = 1 << 16  # samples worked on at a time


class Spectrogram:
    """Mean power per 1/3 semitone and column of time.

    A column is 16 ms at first. When there would be more than `columns` of them, neighbours are averaged in pairs and a
    column is twice as long from then on, as often as the audio's length asks for it.
    """

    def __init__(self, columns: int = _COLUMNS) -> None:
        if columns < 2 or columns % 2:
            raise ValueError(f"columns are averaged in pairs: an even number of them, not {columns}")
        self._bands = _bands()
        self._limit, self._frames_per_column = columns, 1
        self._done: list[np.ndarray] = []  # (k, bins) each, in order
        self._columns = 0  # in all of these
        self._pending = np.zeros((0, len(self._bands)), np.float32)  # frames that do not fill a column yet
        self._rest = np.zeros(_WINDOW // 2, np.float32)  # so that column 0 is centred at the first sample
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Length of the audio so far."""
        return self._samples / SAMPLE_RATE

    @property
    def column_seconds(self) -> float:
        """Time from column to column."""
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
        """The picture so far: (bins, columns) float32 from the lowest bin up, 0 dB the loudest."""
        tail = self._powers(np.concatenate([self._rest, np.zeros(_WINDOW // 2, np.float32)]))
        last = np.concatenate([self._pending, tail])
        count = self._frames_per_column
        groups = [last[i : i + count].mean(axis=0, keepdims=True) for i in range(0, len(last), count)]
        power = np.concatenate([*self._done, *groups, np.zeros((0, len(self._bands)), np.float32)]).T
        loudest = max(float(power.max(initial=0.0)), 1e-12)
        return np.asarray(10 * np.log10(np.maximum(power / loudest, 1e-12)), np.float32)

    def _powers(self, audio: np.ndarray) -> np.ndarray:
        """(frames, bins) of all whole windows in (n,)."""
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
        """Average neighbours in pairs; a last one without a partner becomes frames again and waits for more."""
        done, even = np.concatenate(self._done), self._columns // 2 * 2
        self._done = [done[:even].reshape(even // 2, 2, len(self._bands)).mean(axis=1)]
        self._pending = np.concatenate([np.repeat(done[even:], self._frames_per_column, axis=0), self._pending])
        self._columns = even // 2
        self._frames_per_column *= 2


def _bands() -> np.ndarray:
    """Triangles (bins, FFT bins) around each third of a semitone, each at least as wide as the FFT resolves."""
    midi = np.arange(LOWEST_MIDI * _STEPS, HIGHEST_MIDI * _STEPS + 1) / _STEPS
    centre = 440 * 2 ** ((midi - 69) / 12)
    spacing = SAMPLE_RATE / _WINDOW
    reach = np.maximum(centre * (2 ** (1 / 12 / _STEPS) - 1), spacing)[:, None]
    hz = np.arange(0, centre[-1] + 2 * spacing + reach[-1, 0], spacing)
    weights = np.maximum(1 - np.abs(hz - centre[:, None]) / reach, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
