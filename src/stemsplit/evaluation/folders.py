"""Songs on disk with their true stems: a folder of stems, a folder per song, or MUSDB18-HQ (ROOT/test/Song/*.wav)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stemsplit.audio import is_audio
from stemsplit.errors import UsageError

MIXTURE_NAMES = ("mixture", "mix")
COMPRESSED = ".stem.mp4"
STEM_NAMES = frozenset({
    "vocals", "voice", "bass", "drums", "other", "guitar", "piano", "keys", "strings", "synth", "percussion",
    "instrumental", "accompaniment", "backing", "music", "speech", "effects", "dialogue", "noise", "residual",
    "speaker",
})  # fmt: skip
"""What stems are mostly called; see `looks_like_songs`."""


@dataclass(frozen=True, eq=False)
class SongFolder:
    """A song and its files."""

    name: str
    path: Path
    stems: dict[str, Path]  # name → file
    mixture: Path | None  # None: there is no file of it
    subset: str = ""  # "test" or "train" in MUSDB, elsewhere empty


def find_songs(root: Path, subset: str = "test") -> list[SongFolder]:
    """Return the songs in a folder.

    If `root` itself holds stems, it is the only song. Otherwise they are the songs in ROOT/`subset`, or if there are
    none, those in the folders of ROOT. The list may be empty.

    Raises:
        UsageError: it is the compressed MUSDB18. Published results are measured on MUSDB18-HQ.
    """
    if (song := _song(root)) is not None:
        return [song]
    inside = root / subset
    if inside.is_dir():
        _refuse_compressed(inside)
        if songs := list(_songs(inside, subset)):
            return songs
    return list(_songs(root))


def looks_like_songs(song: SongFolder) -> bool:
    """Return whether the files of a folder may be songs: no mixture is among them, and no name that stems have."""
    named = (stem.casefold().removeprefix("no_").removeprefix("no ") for stem in song.stems)
    return song.mixture is None and not any(name.rstrip("0123456789") in STEM_NAMES for name in named)


def stem_files(folder: Path) -> dict[str, Path]:
    """Return the audio files directly in a folder, sorted: stem name → path."""
    return {path.stem: path for path in sorted(folder.iterdir()) if path.is_file() and is_audio(path)}


def estimate_files(folder: Path, song: SongFolder, *, alone: bool = False) -> dict[str, Path]:
    """Return the estimated stems of a song: stem name → path. There may be none.

    Estimates may be in FOLDER/Song, or in FOLDER/test/Song like the song itself. In either place they may be in a
    folder named after the mixture, because that is where `stemsplit separate` writes the stems of Song/mixture.wav.

    Args:
        folder: where the estimates are.
        song: the song.
        alone: the song is the only one, so its estimates are directly in `folder`.
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
