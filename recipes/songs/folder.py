"""A song on disk: a folder with one array per stem, and a JSON file that says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.machine.disk import staged


def write_song(target: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], about_name: str) -> None:
    """Write `target`/NAME.npy for every array, and `about` as JSON in `target`/`about_name`.

    The JSON comes last: a folder that has one is complete. What a broken run left in the folder is removed.

    Raises:
        OutputError: The disk refuses a file; no new folder is left then.
    """
    shutil.rmtree(target, ignore_errors=True)
    names = [f"{name}.npy" for name in arrays]
    with staged({name: target / name for name in (*names, about_name)}) as places:
        for name, array in zip(names, arrays.values(), strict=True):
            np.save(places[name], array)
        places[about_name].write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")


def as_int16(stem: np.ndarray) -> np.ndarray:
    """Return a stem (channels, samples) within ±1 as int16 (samples, channels); what exceeds ±1 is clipped."""
    rounded: np.ndarray = np.round(np.clip(stem.T, -1, 1) * 32767).astype(np.int16)
    return rounded
