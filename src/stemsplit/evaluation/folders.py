"""Songs with their true stems on disk: a folder of stems, a folder per song, or MUSDB18-HQ (ROOT/test/Song/*.wav)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stemsplit.audio import is_audio
from stemsplit.errors import UsageError

MIXTURE_NAMES = ("mixture", "mix")
COMPRESSED = ".stem.mp4"


@dataclass(frozen=True, eq=False)
class SongFolder:
    """One song: stem name → file, and the file of the mixture if there is one."""

    name: str
    path: Path
    stems: dict[str, Path]
    mixture: Path | None
    subset: str = ""  # of MUSDB, elsewhere empty


def find_songs(root: Path, subset: str = "test") -> list[SongFolder]:
    """The song that is in `root` itself, or those of ROOT/`subset`, or of the folders in ROOT; none where none are.

    Raises: UsageError for the compressed MUSDB18, which is not what results are compared on.
    """
    if (song := _song(root)) is not None:
        return [song]
    inside = root / subset
    if inside.is_dir():
        _refuse_compressed(inside)
        if songs := list(_songs(inside, subset)):
            return songs
    return list(_songs(root))


def stem_files(folder: Path) -> dict[str, Path]:
    """The audio files directly in a folder, stem name → path, by name."""
    return {path.stem: path for path in sorted(folder.iterdir()) if path.is_file() and is_audio(path)}


def estimate_files(folder: Path, song: SongFolder, *, alone: bool = False) -> dict[str, Path]:
    """The estimates of a song in a folder of songs, or in that folder itself if it is the only one; none is fine.

    They may lie where the song lies (test/Song), and in a folder `mixture`, where `stemsplit separate` puts them when
    it is given the mixtures.
    """
    place = folder if alone else folder / song.name
    nested = folder / song.subset / song.name
    for candidate in (place, nested, *(base / name for base in (place, nested) for name in MIXTURE_NAMES)):
        if candidate.is_dir() and (files := stem_files(candidate)):
            return files
    return {}


def _songs(folder: Path, subset: str = "") -> Iterator[SongFolder]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (song := _song(path, subset)) is not None:
            yield song


def _song(folder: Path, subset: str = "") -> SongFolder | None:
    _refuse_compressed(folder)
    if not (files := stem_files(folder)):
        return None
    mixture = next((files[name] for name in MIXTURE_NAMES if name in files), None)
    stems = {stem: path for stem, path in files.items() if stem not in MIXTURE_NAMES}
    return SongFolder(folder.resolve().name, folder, stems, mixture, subset)


def _refuse_compressed(folder: Path) -> None:
    if found := next(folder.glob(f"*{COMPRESSED}"), None):
        raise UsageError(
            f"{found} is of MUSDB18, which is compressed: take MUSDB18-HQ, which has a folder of WAV files per song"
        )
