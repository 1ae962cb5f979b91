"""Lists of songs, M3U: a path or an address on every line. Paths are counted from where the list lies.

Lines with # say something else.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from stemsplit.errors import UsageError
from stemsplit.files.places import as_address

MOST_BYTES = 16 << 20
_STREAM = "#EXT-X-"  # such lines stand in what looks like a list, and is a stream in pieces


def listed_songs(path: Path) -> list[str]:
    """Return the lines of a list that name songs, in its order.

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
    return [line for line in lines if line and not line.startswith("#")]


def place_of(line: str, folder: Path) -> Path:
    """Return the path or the address that a line of a list in `folder` names.

    Whether anything is there is not looked at, but for a path with backslashes: if there is no such file, it is one of
    Windows.

    Raises: UsageError for an address that cannot be reached.
    """
    if line.lower().startswith("file://"):
        line = url2pathname(urlsplit(line).path)
    elif (address := as_address(line)) is not None:
        return address
    path = folder / line
    if os.sep == "/" and "\\" in line and not os.path.lexists(path):
        return folder / line.replace("\\", "/")
    return path
