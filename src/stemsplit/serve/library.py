"""What the output folder holds: songs that were separated, here or by a command, and the files that may be fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from stemsplit.errors import StemsplitError
from stemsplit.files.manifest import MANIFEST_NAME, listed_paths, output_paths, read_manifest, selections
from stemsplit.options import DEFAULT_MELODY_OUTPUT
from stemsplit.player.index import is_page, page_data
from stemsplit.player.page import hues_of
from stemsplit.runs.player import Asked, page_path, write_pages

SONGS = "/songs/"
"""Where the output folder is on the server."""


class NoSuchSongError(StemsplitError):
    """A name that no song has."""


class Stem(BaseModel):
    """A file of a song. `hue` is its colour in the pages; `peaks` are its levels, if the song has a page."""

    name: str
    file: str
    hue: str
    peaks: str | None = None


class Song(BaseModel):
    """A song in the output folder. `page` plays it, where there is one; `made` is in seconds since 1970."""

    track: str
    title: str
    artist: str = ""
    seconds: float | None = None
    made: float
    model: str = ""
    page: str | None = None
    stems: list[Stem]


def address_of(output: Path, path: Path) -> str:
    """Return the address of a file in the output folder."""
    return SONGS + quote(os.fsencode(PurePosixPath(os.path.relpath(path, output))))


class Library:
    """The songs of an output folder. What did not change is not read again."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self._known: dict[Path, tuple[Any, Song | None, frozenset[Path]]] = {}

    def songs(self) -> list[Song]:
        """Return all songs, the newest first."""
        self._look()
        songs = [song for _, song, _ in self._known.values() if song is not None]
        return sorted(songs, key=lambda song: (-song.made, song.track))

    def file(self, address: str) -> Path | None:
        """Return the file at an address below `SONGS`; None unless it is one of a song, inside the output folder."""
        parts = address.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            return None
        path = self.output.joinpath(*parts)
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(os.path.realpath(self.output)) or not real.is_file():
            return None
        self._look()
        wanted = Path(os.path.normpath(path))
        return real if any(wanted in files for _, _, files in self._known.values()) else None

    def make_page(self, track: str) -> Song:
        """Write the page of a song that has none, and return the song.

        Raises: NoSuchSongError; OutputError, AudioError and UsageError of what it is made of.
        """
        self._look()
        manifests = [path for path, (_, song, _) in self._known.items() if song is not None and song.track == track]
        if not manifests:
            raise NoSuchSongError(f"no song is called {track}")
        asked = Asked(melody=DEFAULT_MELODY_OUTPUT)
        for _, _, error in write_pages(self.output, tuple(manifests), asked, lambda text: None):
            if error is not None:
                raise error
        return next(song for song in self.songs() if song.track == track)

    def _look(self) -> None:
        found: dict[Path, tuple[Any, Song | None, frozenset[Path]]] = {}
        for folder, inner, names in os.walk(self.output):
            inner[:] = [name for name in inner if not name.startswith(".")]
            if MANIFEST_NAME in names:
                manifest = Path(folder, MANIFEST_NAME)
                state = (_state(manifest), _state(page_path(manifest)))
                known = self._known.get(manifest)
                found[manifest] = known if known is not None and known[0] == state else (state, *self._read(manifest))
        self._known = found

    def _read(self, path: Path) -> tuple[Song | None, frozenset[Path]]:
        manifest, page = read_manifest(path), page_path(path)
        listed = listed_paths(path)
        if manifest is None or listed is None:
            return None, frozenset()
        files = {Path(os.path.normpath(file)) for file in listed} | {path}
        if is_page(page):
            files.add(page)
        else:
            files.discard(page)
        try:
            song = self._song(path, manifest)
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, OSError):  # somebody edited it
            song = None
        return song, frozenset(files)

    def _song(self, path: Path, manifest: Mapping[str, Any]) -> Song:
        page = page_path(path)
        data = (page_data(page) if is_page(page) else None) or {}
        peaks = {stem["name"]: (stem["hue"], stem["peaks"]) for stem in data.get("stems", ())}
        made = next((one for one in selections(manifest) if set(peaks) == set(one["outputs"])), manifest)
        outputs = output_paths(path, made)
        hues = dict(zip(outputs, hues_of(list(outputs)), strict=True))
        stems = []
        for name, file in outputs.items():
            hue, levels = peaks.get(name, (hues[name], None))
            stems.append(Stem(name=name, file=address_of(self.output, file), hue=hue, peaks=levels))
        return Song(
            track=path.parent.relative_to(self.output).as_posix(),
            title=data.get("title") or path.parent.name,
            artist=data.get("artist") or "",
            seconds=manifest["samples"] / manifest["sample_rate"],
            made=path.stat().st_mtime,
            model=str(manifest["model"]["reference"]),
            page=address_of(self.output, page) if data else None,
            stems=stems,
        )


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written again."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
