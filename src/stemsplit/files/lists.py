"""Lists of songs, M3U: a path on every line, counted from where the list lies; lines with # say something else."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from stemsplit.errors import UsageError

MOST_BYTES = 16 << 20
_STREAM = "#EXT-X-"  # such lines stand in what looks like a list, and is a stream in pieces


def listed_songs(path: Path) -> list[Path]:
    """Return the paths in a list, in its order. Whether anything is there is not looked at.

    Raises: UsageError for what is no list of songs; OSError.
    """
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES or b"\0" in data:
        raise UsageError(f"{path}: not a list of songs, with a path on every line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # what old programs write
    lines = [line.strip() for line in text.splitlines()]
    if any(line.startswith(_STREAM) for line in lines):
        raise UsageError(f"{path}: a stream in pieces, not a list of songs: name its address to a downloader first")
    return [_path_of(line, path.parent) for line in lines if line and not line.startswith("#")]


def _path_of(line: str, folder: Path) -> Path:
    """Return the path that a line names; one with backslashes is that of Windows if there is no such file here."""
    if line.lower().startswith("file://"):
        line = url2pathname(urlsplit(line).path)
    path = folder / line
    if os.sep == "/" and "\\" in line and not os.path.lexists(path):
        return folder / line.replace("\\", "/")
    return path
