"""The paths that the user named → the audio files to work on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stemsplit.audio import AUDIO_SUFFIXES, is_audio
from stemsplit.errors import UsageError, reason
from stemsplit.files.manifest import MANIFEST_NAME, output_paths, read_manifest
from stemsplit.files.naming import track_name


@dataclass(frozen=True)
class Input:
    """One file to work on."""

    path: Path
    track: str  # its name among the outputs: "song", or "subfolder/song" if the user named a folder
    name: str  # for messages to the user


def find_inputs(paths: Sequence[str | Path], output: Path, *, stem: str | None = None) -> tuple[Input, ...]:
    """Return the audio files that `paths` name, and those in the folders that they name, without doubles.

    The files of a folder are sorted. Hidden files, the output folder and the stems of earlier runs are left out.

    Args:
        paths: what the user named.
        output: the folder that the run writes to.
        stem: a stem of earlier runs to take all the same, for example "vocals" to read melodies from.

    Raises:
        UsageError: a path does not exist, or a folder holds no audio.
    """
    if not paths:
        raise UsageError("nothing to separate: name a file or a folder")
    found = [item for path in paths for item in _expand(Path(path), output, stem)]
    return tuple({(item.path.resolve(), item.track): item for item in found}.values())


def _expand(path: Path, output: Path, stem: str | None) -> Iterable[Input]:
    if not path.exists():
        broken = " (a link that leads nowhere)" if path.is_symlink() else ""
        raise UsageError(f"{path}: no such file or folder{broken}")
    if not path.is_dir():
        return [Input(path, track_name(path, AUDIO_SUFFIXES), str(path))]
    ours = stem is not None and (path / MANIFEST_NAME).exists()
    found = _stem_of(path, stem) if ours else _walk(path, output.resolve(), set(), stem)
    files = [file for file in found if is_audio(file)]
    if not files:
        raise UsageError(f"{path}: no audio in this folder")
    return [Input(file, _track_in(path, file), str(file)) for file in files]


def _track_in(folder: Path, file: Path) -> str:
    # A stem of an earlier run may lie outside of the folder, if its --template said so.
    below = file.parent.relative_to(folder) if file.is_relative_to(folder) else Path()
    return (below / track_name(file, AUDIO_SUFFIXES)).as_posix()


def _walk(folder: Path, output: Path, seen: set[Path], stem: str | None) -> Iterator[Path]:
    """Yield the files in a folder and below it. Each real folder is entered once, so that circular links end."""
    if (real := folder.resolve()) in seen:
        return
    seen.add(real)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {reason(error)}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if (entry / MANIFEST_NAME).exists():
                yield from _stem_of(entry, stem)
            elif entry.resolve() != output:
                yield from _walk(entry, output, seen, stem)
        elif entry.is_file():
            yield entry


def _stem_of(folder: Path, stem: str | None) -> Iterator[Path]:
    """Yield the file of a stem, if the manifest in `folder` lists that stem and the file exists."""
    path = folder / MANIFEST_NAME
    try:
        made = output_paths(path, read_manifest(path) or {"outputs": {}})
    except (KeyError, TypeError, AttributeError):  # somebody edited the manifest
        return
    if stem in made and made[stem].is_file():
        yield made[stem]
