"""What a Debian package holds of music: which files, under which licence, and whom to credit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

SHORTEST = 400_000
"""Files of fewer bytes are effects and jingles."""


class Music(NamedTuple):
    """Tracks of a Debian package, with their licence and whom to credit."""

    package: str
    files: str
    """A glob in the package's folder."""
    licence: str
    credit: str
    without: tuple[str, ...] = ()
    """Globs of names to leave out."""
    names: tuple[str, ...] = ("*",)
    """Globs of which a name must match one."""


def tracks(packages: Path, music: Music, without: tuple[str, ...] = ()) -> list[Path]:
    """Return the files of a package's music that are long enough and not in `without` (PACKAGE/NAME)."""
    found = [path for path in sorted((packages / music.package).glob(music.files)) if path.stat().st_size >= SHORTEST]
    return [path for path in found if matches(path.name, music.names) and not matches(path.name, music.without)
            and f"{music.package}/{title(path)}" not in without]  # fmt: skip


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a name matches one of the globs."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def title(path: Path) -> str:
    """Return a track's name: that of its file, or for Frets on Fire that of its folder."""
    return path.parent.name if path.stem in ("song", "guitar") else path.stem


def folder_name(package: str, path: Path) -> str:
    """Return the name of the folder that a track is laid out in; no two tracks of a package have the same."""
    return re.sub(r"[^\w.-]+", "_", f"{package}-{path.parent.name}-{path.stem}")


def licences(sources: Iterable[tuple[str, str, str]]) -> str:
    """Return a Markdown table of sources, licences and credits, as a model's card lists them."""
    rows: dict[tuple[str, str], list[str]] = {}
    for source, licence, credit in sources:
        rows.setdefault((licence, credit), []).append(source)
    lines = [f"| {', '.join(dict.fromkeys(names))} | {licence} | {credit} |"
             for (licence, credit), names in rows.items()]  # fmt: skip
    return "\n".join(["| source | licence | credit |", "| --- | --- | --- |", *lines])
