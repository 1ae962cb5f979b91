"""Songs to train on: folders with a recording of every stem, all equally long.

A recording is `{stem}.npy`, int16 (samples, 2), or `{stem}.flac`, both at the network's rate. An array costs twice the
disk of a FLAC file, and is read faster: nothing is decoded. A JSON file in the folder says what the song is. The
recipes write it last, so a song that has one is complete. A song with a JSON file may lack vocals: nobody sings then.
Of a real recording often only two parts are known: it has an `accompaniment`, and `vocals` where somebody sings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stemsplit.errors import UsageError

VOCALS = "vocals"
ACCOMPANIMENT = "accompaniment"
AUDIO_SUFFIXES = (".npy", ".flac")
FULL_SCALE = np.float32(32768)


def find_songs(folder: Path, names: Sequence[str], *, made_by: str = "render_songs.py") -> list[Path]:
    """Return the folders in `folder` that hold a recording of every name; sorted.

    Args:
        folder: the songs, each in a folder of its own.
        names: stems, or `ACCOMPANIMENT`.
        made_by: the script in recipes/ that makes such songs, for the message.

    Raises:
        UsageError: There is none.
    """
    if not (songs := [song for song in _folders(folder) if has_all(song, names)]):
        raise UsageError(f"no songs with {', '.join(names)} in {folder}: see recipes/{made_by} --help")
    return songs


def find_finished(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the songs of a folder that others are still writing to: those with a JSON file; none is no error."""
    return [song for song in _folders(folder) if about(song) is not None and has_all(song, names)]


def has_all(song: Path, names: Sequence[str]) -> bool:
    """Return whether a song has a recording of every name. Vocals may be missing beside others, see above."""
    missing = [name for name in names if recording(song, name) is None]
    return not missing or (missing == [VOCALS] and len(names) > 1 and about(song) is not None)


def recording(song: Path, name: str) -> Path | None:
    """Return the file of a stem, or None where there is none."""
    paths = (song / f"{name}{suffix}" for suffix in AUDIO_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def about(song: Path) -> Path | None:
    """Return the JSON file that says what a song is, or None."""
    return min(song.glob("*.json"), default=None)


def style_of(song: Path) -> str:
    """Return the style that a song's JSON file names, or ""."""
    path = about(song)
    return "" if path is None else str(json.loads(path.read_text(encoding="utf-8")).get("style", ""))


def read_part(path: Path, start: float, samples: int) -> np.ndarray:
    """Read float32 (2, samples) from `start` on, a fraction of the places that there are. Shorter songs are padded."""
    part = np.zeros((2, samples), np.float32)
    found = _from_array(path, start, samples) if path.suffix == ".npy" else _from_flac(path, start, samples)
    part[:, : len(found)] = found.T
    return part


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.glob("*/") if not path.name.startswith("."))


def _from_array(path: Path, start: float, samples: int) -> np.ndarray:
    song = np.load(path, mmap_mode="r")  # a crop is a slice of a memory map
    first = _first(start, len(song), samples)
    part: np.ndarray = song[first : first + samples] / FULL_SCALE
    return part


def _from_flac(path: Path, start: float, samples: int) -> np.ndarray:
    import soundfile  # where songs are arrays, training does without it

    with soundfile.SoundFile(path) as song:
        song.seek(_first(start, song.frames, samples))
        found: np.ndarray = song.read(samples, dtype="float32", always_2d=True)
    return found


def _first(start: float, length: int, samples: int) -> int:
    return int(start * max(length - samples, 0))
