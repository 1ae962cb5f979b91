"""A song on disk: a folder with one file per stem, and a JSON file that says what it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.errors import OutputError, reason

UNFINISHED = ".unfinished"
"""Folder beside the songs in which one is written, until it is whole."""


def write_song(
    target: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], about_name: str, rate: int = 0
) -> None:
    """Write every array (samples, channels) to `target`/NAME.npy, and `about` as JSON to `target`/`about_name`.

    The folder appears whole or not at all, so that others can read songs while more are written. What is at `target`
    already is replaced.

    Args:
        target: The song's folder.
        arrays: Stems as int16 (samples, channels), and whatever else belongs to the song.
        about: What the song is.
        about_name: The name of the JSON file.
        rate: If it is not 0, stems are written as FLAC at that rate in Hz: NAME.flac, half as large or less.

    Raises:
        OutputError: The disk refuses a file; no new folder is left then.
    """
    text = json.dumps(about, indent=1, ensure_ascii=False)
    stage = target.parent / UNFINISHED / target.name
    shutil.rmtree(stage, ignore_errors=True)
    try:
        stage.mkdir(parents=True)
        for name, array in arrays.items():
            _write_array(stage / name, array, rate if array.dtype == np.int16 else 0)
        (stage / about_name).write_text(text, encoding="utf-8")
        for path in stage.iterdir():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        stage.rename(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {reason(error)}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with suppress(OSError):  # others write there too
            stage.parent.rmdir()


def _write_array(path: Path, array: np.ndarray, rate: int) -> None:
    if not rate:
        np.save(path.with_name(f"{path.name}.npy"), array)
        return
    import soundfile

    with soundfile.SoundFile(
        path.with_name(f"{path.name}.flac"), "w", rate, array.shape[1], "PCM_16", compression_level=0.3
    ) as file:
        file.write(array)


def bytes_in(folder: Path) -> int:
    """Return the size of all files in a folder and the folders in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def as_int16(stem: np.ndarray) -> np.ndarray:
    """Return a stem (channels, samples) within ±1 as int16 (samples, channels); what exceeds ±1 is clipped."""
    rounded: np.ndarray = np.round(np.clip(stem.T, -1, 1) * 32767).astype(np.int16)
    return rounded
