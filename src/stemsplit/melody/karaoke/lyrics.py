"""The words of a song in an LRC file: `[mm:ss.xx] a line`, with its time in front of every line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from stemsplit.errors import UsageError, reason

MOST_BYTES = 1 << 20
_TIME = re.compile(r"\[(\d{1,4}):(\d{1,2}(?:[.:]\d{1,3})?)\]")
_ABOUT = re.compile(r"\[([a-zA-Z]+):([^\]]*)\]")
_WORD_TIME = re.compile(r"<\d{1,4}:\d{1,2}(?:[.:]\d{1,3})?>")
"""Some programs put times in front of words, too; they are left out."""


@dataclass(frozen=True)
class Line:
    """A line of a song: when it begins, in seconds, and its words. A line without words is a pause."""

    start: float
    words: tuple[str, ...]


@dataclass(frozen=True)
class Lyrics:
    """The lines of a song in order, and what the file says of it: "ti" is the title, "ar" the artist."""

    lines: tuple[Line, ...] = ()
    about: dict[str, str] = field(default_factory=dict)


def lyrics_beside(song: Path) -> Path | None:
    """Return the LRC file of a song, which lies beside it under its name; None if there is none."""
    for suffix in (".lrc", ".LRC"):
        path = song.with_suffix(suffix) if song.suffix else song.with_name(song.name + suffix)
        if path.is_file():
            return path
    return None


def read_lyrics(path: Path) -> Lyrics:
    """Read an LRC file. Raises: UsageError if it cannot be read, or has no line with a time."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {reason(error)}") from error
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path}: too large for the words of a song")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    if not (found := parse_lyrics(text)).lines:
        raise UsageError(f"{path}: no line of it has a time, as in [01:23.45] a line")
    return found


def parse_lyrics(text: str) -> Lyrics:
    """Return the lines of an LRC text, by their times. A line may have several; what has none is left out."""
    lines: list[Line] = []
    about: dict[str, str] = {}
    for row in text.splitlines():
        row = row.strip()
        times, at = [], 0
        while (match := _TIME.match(row, at)) is not None:
            times.append(60 * int(match[1]) + float(match[2].replace(":", ".")))
            at = match.end()
        words = tuple(_WORD_TIME.sub(" ", row[at:]).split())
        lines += [Line(time, words) for time in times]
        if not times and (said := _ABOUT.fullmatch(row)) is not None:
            about.setdefault(said[1].lower(), said[2].strip())
    earlier = _offset(about.get("offset", "")) / 1000
    moved = [Line(max(0.0, line.start - earlier), line.words) for line in lines]
    return Lyrics(tuple(sorted(moved, key=lambda line: line.start)), about)


def _offset(text: str) -> int:
    """Return by how many milliseconds lines come earlier than their times say."""
    return int(text) if re.fullmatch(r"[+-]?\d{1,6}", text) else 0
