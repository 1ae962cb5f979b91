"""The name of a track, and the paths of its stems by a template."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePath
from string import Formatter

from stemsplit.errors import UsageError
from stemsplit.files.tag_fields import TAG_FIELDS, tag_fields

NAME_BYTES = 255
"""The longest name of a file or folder that common file systems hold."""
_HASH_DIGITS = 8


def _folder_of(source: Path) -> str:
    return source.absolute().parent.name


def _suffix_of(source: Path) -> str:
    return source.suffix.lower().removeprefix(".")


SOURCE_FIELDS: Mapping[str, Callable[[Path], str]] = {
    "folder": _folder_of,
    "suffix": _suffix_of,
    "source_ext": _suffix_of,  # what others call it
}
"""Fields of a template that tell songs of one name apart: name → the value for a source."""
FIELDS = ("track", "stem", "ext", *SOURCE_FIELDS, *TAG_FIELDS)


class Paths(Mapping[str, Path]):
    """Paths by their names, kept as text: plans of very many songs hold very many."""

    __slots__ = ("_kind", "_names", "texts")

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._names, self.texts = _same_names(tuple(paths)), tuple(str(path) for path in paths.values())
        self._kind = type(next(iter(paths.values()), Path()))

    def __getitem__(self, name: str) -> Path:
        if name not in self._names:
            raise KeyError(name)
        return self._kind(self.texts[self._names.index(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@lru_cache(64)
def _same_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the one tuple that all songs of a run share."""
    return names


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


def stem_path(
    output: Path, template: str, track: str, stem: str, ext: str, *, source: Path = Path("folder/song.wav")
) -> Path:
    """Return the path of a stem. A track whose name would make a name too long is shortened, and ends in a hash.

    Raises: UsageError if it is outside of `output`.
    """
    if set(stem) & set('/\\\0:*?"<>|') or stem in ("", ".", ".."):
        raise UsageError(f"a stem cannot be called {stem!r}: it would not be a file name")
    values = {"stem": stem, "ext": ext, **{name: part_of(value(source)) for name, value in SOURCE_FIELDS.items()}}
    if any(field in TAG_FIELDS for _, field, _, _ in Formatter().parse(template)):
        values |= tag_fields(source)
    inside, longest = "", NAME_BYTES
    for _ in range(4):  # a template may have the track several times in one name
        inside = template.format(track=shortened(track, longest), **values)
        excess = max(len(os.fsencode(part)) for part in _parts(inside)) - NAME_BYTES
        if excess <= 0:
            break
        longest = min(longest, len(os.fsencode(track.rpartition("/")[2]))) - excess
    else:
        raise UsageError(f"--template {template!r} makes a name longer than {NAME_BYTES} bytes")
    if PurePath(inside).is_absolute() or ".." in _parts(inside) or "\0" in inside:
        raise UsageError(f"--template {template!r} leads out of the output folder, to {inside}")
    return output / inside


def track_folder(output: Path, template: str, track: str, source: Path) -> Path:
    """Return the folder of a track's manifest: `output`/{track}, and what of the template tells equal tracks apart."""
    used = {field for _, field, _, _ in Formatter().parse(template) if field}
    folder = part_of(_folder_of(source)) if "folder" in used else ""
    suffix = f".{part_of(_suffix_of(source))}" if used & {"suffix", "source_ext"} else ""
    return output / folder / shortened(track + suffix, NAME_BYTES)


def part_of(value: str) -> str:
    """Return a value as it can be a part of a file name, whatever it holds; "none" if nothing of it can."""
    return "".join("_" if letter in "/\\\0" else letter for letter in value).strip(" .") or "none"


def shortened(track: str, most: int) -> str:
    """Return a track whose last name takes at most `most` bytes: its beginning and a hash if it is longer."""
    folder, slash, name = track.rpartition("/")
    data = os.fsencode(name)
    if len(data) <= most:
        return track
    end = f"~{hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]}"
    while name and len(os.fsencode(name)) > most - len(end):
        name = name[:-1]
    return f"{folder}{slash}{name}{end}"


def _parts(path: str) -> list[str]:
    return path.replace("\\", "/").split("/") if os.name == "nt" else path.split("/")


def same_place(path: Path | str) -> str:
    """Return a key that is equal for all paths that some file system takes for the same file.

    Such paths may differ in letter case and in the way that Unicode composes letters.
    """
    text = str(path)
    text = text if os.path.isabs(text) else f"{Path.cwd()}{os.sep}{text}"  # noqa: PTH117, as paths cost time
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
