"""What WORLD finds in a person's speech, packed.

WORLD: M. Morise, F. Yokomori, K. Ozawa, IEICE Trans. 2016; through pyworld.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from songs.voices.voicebank import FRAME_SECONDS, world
from stemsplit.errors import StemsplitError

RATE = 16000
"""Sample rate of recorded speech in Hz."""
FFT_SIZE = 512
BINS = FFT_SIZE // 2 + 1
FRAME_SAMPLES = round(FRAME_SECONDS * RATE)
HERTZ = np.arange(BINS) * RATE / FFT_SIZE
"""Frequency of every bin."""
SHORTEST, LONGEST = 0.5, 60.0
"""Recordings of so few seconds are left out; so many seconds of a person are used at most."""
_STEPS, _LOWEST = 8.0, -26.0  # an envelope's byte: the logarithm of the power in steps of 0.5 dB
_LEVEL = 0.05
_APART = 30  # frames of silence between two recordings


class Talk(NamedTuple):
    """A person's recordings end to end, in frames of 5 ms."""

    envelope: np.ndarray
    """(frames, BINS), uint8; `logs` says what it stands for."""
    rough: np.ndarray
    """(frames,): WORLD's coded aperiodicity at 3 kHz in dB."""
    f0: np.ndarray
    """(frames,) in Hz, 0 where there is no pitch."""
    sound: np.ndarray
    """(frames * FRAME_SAMPLES,), int16 at 16 kHz: the recordings themselves."""

    def logs(self, rows: np.ndarray) -> np.ndarray:
        """Return the natural logarithm of the power at these frames, (rows, BINS) float32."""
        return np.asarray(self.envelope[rows] / np.float32(_STEPS) + np.float32(_LOWEST), np.float32)

    @property
    def pitch(self) -> float:
        """The median pitch in MIDI semitones; that of middle C if nothing has one."""
        voiced = self.f0[self.f0 > 0]
        return 69 + 12 * float(np.log2(np.median(voiced) / 440)) if len(voiced) else 60.0


def analyse_talk(files: Sequence[Path]) -> Mapping[str, np.ndarray]:
    """Analyse a person's recordings, at most `LONGEST` seconds; return the fields of a `Talk`.

    Raises:
        StemsplitError: One cannot be read.
    """
    parts, frames = [_silence()], 0
    for path in files:
        if frames * FRAME_SECONDS > LONGEST:
            break
        sound = read_speech(path)[: round(LONGEST * RATE)]
        if len(sound) > SHORTEST * RATE:
            parts += [_analyse(sound), _silence()]
            frames += len(parts[-2].f0)
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in Talk._fields}


def read_speech(path: Path) -> np.ndarray:
    """Read a recording as (samples,) float64 at 16 kHz, at a common level.

    Raises:
        StemsplitError: It cannot be read.
    """
    try:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise StemsplitError(f"{path} cannot be read: {error}") from error
    sound = np.asarray(soxr.resample(sound.mean(1), rate, RATE), np.float64)
    loud = np.sqrt(np.mean(sound**2)) if len(sound) else 0.0
    sound *= min(_LEVEL / max(loud, 1e-9), 0.95 / max(np.abs(sound).max(initial=0.0), 1e-9))
    return sound


def _analyse(sound: np.ndarray) -> Talk:
    pitch, times = world().dio(sound, RATE, f0_floor=65.0, f0_ceil=500.0, frame_period=FRAME_SECONDS * 1000)
    pitch = world().stonemask(sound, pitch, times, RATE)
    envelope = world().cheaptrick(sound, pitch, times, RATE, fft_size=2 * FFT_SIZE)[:, ::2]
    rough = world().d4c(sound, pitch, times, RATE, fft_size=2 * FFT_SIZE)
    coded = world().code_aperiodicity(rough, RATE)[:, 0]
    packed = np.clip(np.round((np.log(envelope + 1e-16) - _LOWEST) * _STEPS), 0, 255).astype(np.uint8)
    samples = np.pad(sound, (0, len(pitch) * FRAME_SAMPLES - len(sound)))
    return Talk(packed, coded.astype(np.float32), pitch.astype(np.float32), np.round(samples * 32767).astype(np.int16))


def _silence() -> Talk:
    return Talk(np.zeros((_APART, BINS), np.uint8), np.zeros(_APART, np.float32), np.zeros(_APART, np.float32),
                np.zeros(_APART * FRAME_SAMPLES, np.int16))  # fmt: skip
