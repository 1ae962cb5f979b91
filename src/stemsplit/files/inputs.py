"""The paths that the user named → the audio files to work on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from stemsplit.audio import AUDIO_SUFFIXES, is_audio
from stemsplit.errors import StemsplitError, UsageError, reason
from stemsplit.files.manifest import (
    ANALYSIS_MANIFEST,
    ASIDE_NAME,
    MANIFEST_NAME,
    listed_paths,
    manifests_aside,
    output_paths,
    read_manifest,
    selections,
)
from stemsplit.files.naming import track_name
from stemsplit.files.places import Address, files_at, mark_of
from stemsplit.machine.disk import identity

_MANIFESTS = (MANIFEST_NAME, ANALYSIS_MANIFEST)
"""Those that list audio."""
_LISTS = (".m3u", ".m3u8")


@dataclass(frozen=True, slots=True)
class Input:
    """One file to work on, or what is wrong with it. `made`: it is a stem of an earlier run, and left out."""

    path: Path
    track: str  # its name among the outputs: "song", or "subfolder/song" if the user named a folder
    name: str  # for messages to the user
    error: StemsplitError | None = None
    made: bool = False
    mark: str | None = None  # see `places.mark_of`, if it is at an address


def find_inputs(paths: Sequence[str | Path], output: Path, *, stem: str | None = None) -> tuple[Input, ...]:
    """Return the audio files that `paths` name, and those in the folders and lists that they name, without doubles.

    The files of a folder are sorted. Hidden files, the output folder and what manifests list are left out, wherever it
    lies. A stem that is named beside songs, as `*.wav` does, is marked as made. What cannot be found or read is an
    input with an error.

    Args:
        paths: what the user named.
        output: the folder that the run writes to.
        stem: a stem of earlier runs to take all the same, for example "vocals" to read melodies from.

    Raises:
        UsageError: there are no paths.
    """
    if not paths:
        raise UsageError("nothing to separate: name a file or a folder")
    made = _Made(output)
    named = [path if isinstance(path, Path) else Path(path) for path in paths]
    found = [item for path in named for item in _expand(path, output, stem, made)]
    if stem is None and not all(item.error or made.lists(item.path) for item in found):
        found = [replace(item, made=not item.error and made.lists(item.path)) for item in found]
    return tuple(
        {(item.name if item.error else os.path.realpath(item.path), item.track): item for item in found}.values()
    )


def _expand(path: Path, output: Path, stem: str | None, made: _Made) -> list[Input]:
    if isinstance(path, Address):
        return _at_address(path, output, stem)
    try:
        if not path.is_dir():
            path.stat()
            if path.suffix.lower() in _LISTS:
                return _listed(path, output, stem, made)
            return [Input(path, _track_of(path, stem), str(path))]
    except (OSError, ValueError) as error:
        return [_failed(path, _why_not(path, error))]
    ours = stem is not None and os.path.lexists(path / MANIFEST_NAME)
    below = _Below(os.path.realpath(output), stem, made)
    found = list(_stem_of(path / MANIFEST_NAME, stem) if ours else below.files(path))
    files = [file for file in found if is_audio(file) and (ours or file in below.stems or not made.lists(file))]
    if not files and not below.failures:
        stems = (
            " but stems of earlier runs, which can be named as files" if any(is_audio(file) for file in found) else ""
        )
        return [_failed(path, f"no audio in this folder{stems}")]
    return [*(Input(file, _track_in(path, file), str(file)) for file in files), *below.failures]


def _listed(path: Path, output: Path, stem: str | None, made: _Made) -> list[Input]:
    """Return what a list names. Raises: OSError."""
    from stemsplit.files.lists import listed_songs, place_of  # few runs want it

    try:
        lines = listed_songs(path)
    except UsageError as error:
        return [Input(path, path.name, str(path), error)]
    found: list[Input] = []
    for line in lines:
        try:
            song = place_of(line, path.parent)
        except UsageError as error:
            found.append(Input(Path(line), Path(line).name, line, error))
            continue
        if song.suffix.lower() in _LISTS:
            found.append(_failed(song, "a list in a list is not followed: name it"))
        else:
            found += _expand(song, output, stem, made)
    return found or [_failed(path, "no songs in this list")]


def _at_address(address: Address, output: Path, stem: str | None) -> list[Input]:
    """Return the inputs at an address. What lies beside a manifest of `separate` is no song: only a stem asked for."""
    try:
        root, files = files_at(address)
    except StemsplitError as error:
        return [Input(address, address.name, str(address), error, mark="")]
    if list(files) == [str(address)]:
        return [Input(address, track_name(address, AUDIO_SUFFIXES), str(address), mark=mark_of(files[str(address)]))]
    made = {url.rpartition("/")[0] for url in files if url.endswith(f"/{MANIFEST_NAME}")}
    own = f"{output}/" if isinstance(output, Address) else None
    found = []
    for url, about in files.items():
        path, place = Address(url), PurePosixPath(url[len(root) :].strip("/"))
        is_stem = url.rpartition("/")[0] in made
        ours = is_stem or (own is not None and str(path).startswith(own))
        wanted = path.stem == stem if is_stem else not ours
        if wanted and is_audio(path) and not any(part.startswith(".") for part in place.parts):
            track = (place.parent / track_name(path, AUDIO_SUFFIXES)).as_posix()
            found.append(Input(path, track, url, mark=mark_of(about)))
    return found or [Input(address, address.name, str(address), UsageError(f"{address}: no audio in this folder"))]


def _track_of(path: Path, stem: str | None) -> str:
    """Return the name of a file; a stem of an earlier run is called after its song, as it is in a folder of songs."""
    name = track_name(path, AUDIO_SUFFIXES)
    ours = stem is not None and identity(path) in [
        identity(made) for made in _stem_of(path.parent / MANIFEST_NAME, stem)
    ]
    return f"{path.absolute().parent.name}/{name}" if ours else name


def _failed(path: Path, why: str) -> Input:
    return Input(path, path.name, str(path), UsageError(f"{path}: {why}"))


def _why_not(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return f"no such file or folder{' (a link that leads nowhere)' if path.is_symlink() else ''}"
    return reason(error) if isinstance(error, OSError) else str(error)


def _track_in(folder: Path, file: Path) -> str:
    # A stem of an earlier run may lie outside of the folder, if its --template said so.
    below = file.parent.relative_to(folder) if file.is_relative_to(folder) else Path()
    return (below / track_name(file, AUDIO_SUFFIXES)).as_posix()


class _Made:
    """What manifests list: that of earlier runs, which is no song."""

    def __init__(self, output: Path) -> None:
        self._files: set[tuple[int, int]] = set()
        self._folders: set[str] = set()  # whose manifest cannot be read, so that all in it may be ours
        for folder, inner, names in os.walk(output):
            aside = manifests_aside(Path(folder)).values() if ASIDE_NAME in inner else ()
            for manifest in (*(Path(folder, name) for name in _MANIFESTS if name in names), *aside):
                self.add(manifest)
            inner[:] = [name for name in inner if not name.startswith(".")]

    def add(self, manifest: Path) -> None:
        """Take in what a manifest lists."""
        listed = listed_paths(manifest)
        if listed is None and manifest.name == MANIFEST_NAME:  # others may call a file of theirs analysis.json
            self._folders.add(os.path.realpath(manifest.parent))
        self._files |= {key for path in listed or () if (key := identity(path)) is not None}

    def lists(self, path: Path) -> bool:
        """Return whether a file was made by an earlier run."""
        return identity(path) in self._files or os.path.realpath(path.parent) in self._folders


class _Below:
    """The files below a folder that the user named: `stems` are those asked for, `failures` what cannot be read."""

    def __init__(self, output: str, stem: str | None, made: _Made) -> None:
        self._output, self._stem, self._made = output, stem, made
        self._seen: set[str] = set()
        self.stems: set[Path] = set()
        self.failures: list[Input] = []

    def files(self, folder: Path) -> Iterator[Path]:
        """Yield the files in a folder and below it. Each real folder is entered once, so that circular links end."""
        if (real := os.path.realpath(folder)) in self._seen:
            return
        self._seen.add(real)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.failures.append(_failed(folder, reason(error)))
            return
        aside = manifests_aside(folder).values() if any(entry.name == ASIDE_NAME for entry in found) else ()
        found = [entry for entry in found if not entry.name.startswith(".")]
        listing = [folder / entry.name for entry in found if entry.name in _MANIFESTS]
        for manifest in (*listing, *aside):
            self._made.add(manifest)
        for manifest in (*(path for path in listing if path.name == MANIFEST_NAME), *aside):
            stems = list(_stem_of(manifest, self._stem))
            self.stems.update(stems)
            yield from stems
        for entry in found:
            yield from self._entry(entry)

    def _entry(self, entry: os.DirEntry[str]) -> Iterator[Path]:
        path = Path(entry.path)
        try:
            if entry.is_dir():
                if os.path.realpath(path) != self._output:
                    yield from self.files(path)
            elif entry.is_file() and entry.stat():
                yield path
        except OSError as error:
            if is_audio(path) or (entry.is_symlink() and error.errno == errno.EACCES):
                self.failures.append(_failed(path, reason(error)))


def _stem_of(path: Path, stem: str | None) -> Iterator[Path]:
    """Yield the file of a stem, if the manifest at `path` lists that stem and the file exists."""
    try:
        for selection in selections(read_manifest(path) or {"outputs": {}}):
            made = output_paths(path, selection)
            if stem in made and made[stem].is_file():
                yield made[stem]
                return
    except (KeyError, TypeError, AttributeError, ValueError, OSError):  # somebody edited the manifest
        return
