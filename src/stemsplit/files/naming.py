"""The name of a track, and the paths of its stems by a template."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePath
from string import Formatter

from stemsplit.errors import UsageError

FIELDS = ("track", "stem", "ext")


def track_name(path: PurePath, suffixes: frozenset[str]) -> str:
    """Return a file's name, without its suffix if that is one of `suffixes`. It is never empty, "." or ".."."""
    name = path.stem if path.suffix.lower() in suffixes else path.name
    return name.rstrip(". ") or "track"  # Windows cannot keep dots and spaces at the end


def check_template(template: str) -> None:
    """Check a template of output paths before any work. Raises: UsageError."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"--template {template!r} cannot be read: {error}") from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in FIELDS or spec or conversion):
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise UsageError(f"--template {template!r}: {{{field}}} is unknown; there are {known}")
    if not template.endswith(".{ext}"):
        raise UsageError(f"--template {template!r} must end in .{{ext}}, the suffix of the format")
    stem_path(Path(), template, "track", "stem", "ext")


def stem_path(output: Path, template: str, track: str, stem: str, ext: str) -> Path:
    """Return the path of a stem. Raises: UsageError if it is outside of `output`."""
    if set(stem) & set('/\\\0:*?"<>|') or stem in ("", ".", ".."):
        raise UsageError(f"a stem cannot be called {stem!r}: it would not be a file name")
    inside = template.format(track=track, stem=stem, ext=ext)
    parts = inside.replace("\\", "/").split("/") if os.name == "nt" else inside.split("/")
    if PurePath(inside).is_absolute() or ".." in parts or "\0" in inside:
        raise UsageError(f"--template {template!r} leads out of the output folder, to {inside}")
    return output / inside


def same_place(path: Path) -> str:
    """Return a key that is equal for all paths that some file system takes for the same file.

    Such paths may differ in letter case and in the way that Unicode composes letters.
    """
    return unicodedata.normalize("NFC", str(path.absolute())).casefold()
