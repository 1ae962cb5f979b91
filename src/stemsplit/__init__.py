"""stemsplit: split a song into vocals, bass, drums and other.

    separation = stemsplit.separate("song.mp3")
    separation.stems["vocals"]          # float32 (channels, samples)
    separation.save("stems")
    for outcome in stemsplit.separate_files(["album"], "stems"): ...
    stemsplit.extract_melody("song.mp3").contour.frequency      # Hz, every 10 ms
    stemsplit.analyse("song.mp3").key.name                      # "A minor"

The names below are bound when they are first used: importing this package loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stemsplit.analysis.song import Analysis
    from stemsplit.api.analysis import analyse
    from stemsplit.api.files import separate_files
    from stemsplit.api.melody import Melody, extract_melody, load_melody_network
    from stemsplit.api.separation import Separation, load_network, separate
    from stemsplit.errors import (
        AudioError,
        CheckpointError,
        DamagedError,
        DecodeError,
        DeviceError,
        DownloadError,
        EmptyAudioError,
        HashError,
        MissingFileError,
        ModelError,
        NotDerivableError,
        OutOfMemoryError,
        OutputError,
        StemsplitError,
        TargetCollisionError,
        UnknownModelError,
        UnknownStemError,
        UsageError,
    )
    from stemsplit.runs.jobs import Outcome
    from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL, DEFAULT_MODEL, list_models

__version__ = "0.2.0"

__all__ = [
    "DEFAULT_MELODY_MODEL",
    "DEFAULT_MODEL",
    "Analysis",
    "AudioError",
    "CheckpointError",
    "DamagedError",
    "DecodeError",
    "DeviceError",
    "DownloadError",
    "EmptyAudioError",
    "HashError",
    "Melody",
    "MissingFileError",
    "ModelError",
    "NotDerivableError",
    "OutOfMemoryError",
    "Outcome",
    "OutputError",
    "Separation",
    "StemsplitError",
    "TargetCollisionError",
    "UnknownModelError",
    "UnknownStemError",
    "UsageError",
    "__version__",
    "analyse",
    "extract_melody",
    "list_models",
    "load_melody_network",
    "load_network",
    "separate",
    "separate_files",
]

_HOMES = {
    "Analysis": "analysis.song",
    "analyse": "api.analysis",
    "separate_files": "api.files",
    "Melody": "api.melody",
    "extract_melody": "api.melody",
    "load_melody_network": "api.melody",
    "Separation": "api.separation",
    "load_network": "api.separation",
    "separate": "api.separation",
    "AudioError": "errors",
    "CheckpointError": "errors",
    "DamagedError": "errors",
    "DecodeError": "errors",
    "DeviceError": "errors",
    "DownloadError": "errors",
    "EmptyAudioError": "errors",
    "HashError": "errors",
    "MissingFileError": "errors",
    "ModelError": "errors",
    "OutOfMemoryError": "errors",
    "NotDerivableError": "errors",
    "OutputError": "errors",
    "StemsplitError": "errors",
    "TargetCollisionError": "errors",
    "UnknownModelError": "errors",
    "UnknownStemError": "errors",
    "UsageError": "errors",
    "Outcome": "runs.jobs",
    "DEFAULT_MELODY_MODEL": "weights.catalog",
    "DEFAULT_MODEL": "weights.catalog",
    "list_models": "weights.catalog",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stemsplit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"stemsplit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
