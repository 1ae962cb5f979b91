"""stemsplit: split a song into vocals, bass, drums and other.

    separation = stemsplit.separate("song.mp3")
    separation.stems["vocals"]          # float32 (channels, samples)
    separation.save("stems")
    stemsplit.extract_melody("song.mp3").contour.frequency      # Hz, every 10 ms

The names below are bound when they are first used: importing this package loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stemsplit.api import Melody, Separation, extract_melody, load_melody_network, load_network, separate
    from stemsplit.errors import (
        AudioError,
        ModelError,
        OutOfMemoryError,
        OutputError,
        StemsplitError,
        UsageError,
    )
    from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL, DEFAULT_MODEL, list_models

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_MELODY_MODEL",
    "DEFAULT_MODEL",
    "AudioError",
    "Melody",
    "ModelError",
    "OutOfMemoryError",
    "OutputError",
    "Separation",
    "StemsplitError",
    "UsageError",
    "__version__",
    "extract_melody",
    "list_models",
    "load_melody_network",
    "load_network",
    "separate",
]

_HOMES = {
    "Separation": "api",
    "load_network": "api",
    "separate": "api",
    "Melody": "api",
    "extract_melody": "api",
    "load_melody_network": "api",
    "DEFAULT_MELODY_MODEL": "weights.catalog",
    "DEFAULT_MODEL": "weights.catalog",
    "list_models": "weights.catalog",
    "AudioError": "errors",
    "ModelError": "errors",
    "OutOfMemoryError": "errors",
    "OutputError": "errors",
    "StemsplitError": "errors",
    "UsageError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stemsplit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"stemsplit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
