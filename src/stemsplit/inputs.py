"""What the user named → the audio files to separate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stemsplit.audio import AUDIO_SUFFIXES, is_audio
from stemsplit.errors import UsageError
from stemsplit.manifest import MANIFEST_NAME
from stemsplit.naming import track_name


@dataclass(frozen=True)
class Input:
    """One file. `track` names it among the outputs: "song", or "folder/song" under a folder that was given."""

    path: Path
    track: str
    name: str  # as the user knows it


def find_inputs(paths: Sequence[str | Path], output: Path) -> tuple[Input, ...]:
    """Expand folders, sorted and without hidden files, stems of earlier runs, and doubles.

    Raises: UsageError for a path that does not exist, and for a folder without audio.
    """
    if not paths:
        raise UsageError("nothing to separate: name a file or a folder")
    found = [item for path in paths for item in _expand(Path(path), output)]
    return tuple({(item.path.resolve(), item.track): item for item in found}.values())


def _expand(path: Path, output: Path) -> Iterable[Input]:
    if not path.exists():
        broken = " (a link that leads nowhere)" if path.is_symlink() else ""
        raise UsageError(f"{path}: no such file or folder{broken}")
    if not path.is_dir():
        return [Input(path, track_name(path, AUDIO_SUFFIXES), str(path))]
    files = [file for file in _walk(path, output.resolve(), set()) if is_audio(file)]
    if not files:
        raise UsageError(f"{path}: no audio in this folder")
    return [Input(file, _track_in(path, file), str(file)) for file in files]


def _track_in(folder: Path, file: Path) -> str:
    return (file.relative_to(folder).parent / track_name(file, AUDIO_SUFFIXES)).as_posix()


def _walk(folder: Path, output: Path, seen: set[Path]) -> Iterator[Path]:
    """Files below a folder. Links to folders are followed once, so that a circle ends."""
    if (real := folder.resolve()) in seen:
        return
    seen.add(real)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {(error.strerror or str(error)).lower()}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.resolve() != output and not (entry / MANIFEST_NAME).exists():
                yield from _walk(entry, output, seen)
        elif entry.is_file():
            yield entry
