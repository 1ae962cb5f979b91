"""Trackers of pitch to compare with ours: 16 kHz mono in, a `Contour` out, each by its own defaults.

    ours        a melody network of this project: `stemsplit.extract_melody(…, vocals=True)`
    pyin        librosa.pyin (Mauch & Dixon 2014) from 65 to 1400 Hz, windows of 64 ms; voiced where its flag says so
    swift-f0    swift_f0.SwiftF0 (pip install swift-f0), its whole range, 16 ms hop; voiced from a confidence of 0.5 on
    pesto       pesto's mir-1k_g7 (pip install pesto-pitch); voiced where its confidence is above 0.5

All of them give a pitch in silent frames too, which counts as their guess. pYIN's window (1024 samples) and range are
the best of three settings tried on eight of the clips. PESTO's weights are named after MIR-1K: they probably learned
from these clips, without their labels.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from stemsplit.melody.contour import Contour

RATE = 16000
PYIN_RANGE_HZ = (65.0, 1400.0)
PYIN_WINDOW_SAMPLES = 1024

Track = Callable[[np.ndarray], Contour]
"""float32 (samples,) at 16 kHz → its contour."""


@dataclass(frozen=True)
class Settings:
    """What all trackers share: the hop of those that let one choose, and threads. `decoding` is for ours only."""

    hop_ms: float = 10.0
    threads: int = 1
    decoding: tuple[tuple[str, Any], ...] = ()


def load(name: str, settings: Settings) -> Track:
    """A peer of `PEERS`, or else our network of that model reference. Raises ImportError for a peer not installed."""
    return PEERS[name](settings) if name in PEERS else ours(name, settings)


def ours(reference: str, settings: Settings, separator: str | None = None) -> Track:
    """Our network, loaded once; behind a separator, also loaded once, if one is named."""
    from stemsplit import extract_melody, load_melody_network, load_network

    choices: dict[str, Any] = {"model": load_melody_network(reference, "cpu"), "vocals": separator is None}
    choices |= {"separator": load_network(separator, "cpu")} if separator else {}
    choices |= {"hop_ms": settings.hop_ms, "device": "cpu", **dict(settings.decoding)}

    def track(samples: np.ndarray) -> Contour:
        return extract_melody(samples, RATE, **choices).contour

    return track


def pyin(settings: Settings) -> Track:
    """librosa's pYIN."""
    import librosa

    hop_samples = round(settings.hop_ms * RATE / 1000)
    low, high = PYIN_RANGE_HZ

    def track(samples: np.ndarray) -> Contour:
        hz, voiced, confidence = librosa.pyin(
            samples,
            fmin=low,
            fmax=high,
            sr=RATE,
            hop_length=hop_samples,
            frame_length=PYIN_WINDOW_SAMPLES,
            fill_na=None,
        )
        return Contour(hop_samples / RATE, hz.astype(np.float64), confidence.astype(np.float32), voiced.astype(bool))

    return track


def swift_f0(settings: Settings) -> Track:
    """SwiftF0, whose hop is fixed."""
    import swift_f0 as package

    detector = package.SwiftF0(threads=settings.threads)

    def track(samples: np.ndarray) -> Contour:
        found = detector.detect(samples, RATE)
        return Contour(
            256 / RATE, found.pitch_hz, found.confidence.astype(np.float32), np.asarray(found.confidence >= 0.5)
        )

    return track


def pesto(settings: Settings) -> Track:
    """PESTO."""
    import torch

    _stand_in_for_torchaudio()
    from pesto.loader import load_model

    network = load_model("mir-1k_g7", step_size=settings.hop_ms, sampling_rate=RATE)

    def track(samples: np.ndarray) -> Contour:
        with torch.inference_mode():
            hz, confidence, *_ = network(torch.from_numpy(samples), sr=RATE, convert_to_freq=True)
        sure = confidence.numpy()
        return Contour(settings.hop_ms / 1000, hz.numpy().astype(np.float64), sure.astype(np.float32), sure > 0.5)

    return track


def _stand_in_for_torchaudio() -> None:
    """Let pesto be imported where torchaudio cannot be: it reads files with it, which nobody does here."""
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):  # OSError: its library is of another torch than the one installed
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio"] = ModuleType("torchaudio")


PEERS: dict[str, Callable[[Settings], Track]] = {"pyin": pyin, "swift-f0": swift_f0, "pesto": pesto}
