"""The files of songs, true and estimated → scores. Files are read once, second by second, however long they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stemsplit.audio import AudioInfo, blocks, probe, rechunked
from stemsplit.errors import AudioError, UsageError
from stemsplit.evaluation.folders import SongFolder, estimate_files, find_songs, looks_like_songs
from stemsplit.evaluation.scores import FrameSDR, Part, SongScore, score_parts

Key = tuple[str, str]
"""Which file of a song: ("true", stem), ("estimate", stem) or ("mixture", "")."""


class Pair(NamedTuple):
    """The files of a song that are compared."""

    song: str
    references: Mapping[str, Path]  # stem → path
    estimates: Mapping[str, Path]  # stem → path
    mixture: Path | None  # None: it is the sum of the references


def pair_songs(
    reference: Path, estimate: Path, subset: str = "test", on_warning: Callable[[str], object] = lambda text: None
) -> tuple[list[Pair], tuple[str, ...]]:
    """Return the songs that are in two folders, and the references without an estimate, as "song/stem".

    `find_songs` and `estimate_files` say how the folders may be organised.

    Args:
        reference: the folder of true stems.
        estimate: the folder of estimated stems.
        subset: of MUSDB, the subset to take.
        on_warning: is told of files that may be songs, but are taken for stems.

    Raises:
        UsageError: a folder is missing, the two have no stem in common, or the files in it are songs, no stems.
    """
    for folder in (reference, estimate):
        if not folder.is_dir():
            if folder.is_file():
                raise UsageError(f"{folder} is a file: give a folder of stems; with --melody, contours are compared")
            raise UsageError(f"{folder}: no such folder; give a folder of stems, or one with a folder per song")
    songs = find_songs(reference, subset)
    for song in songs:
        if song.path == reference:
            _refuse_songs(song, estimate)
    found = {song.path: estimate_files(estimate, song, alone=song.path == reference) for song in songs}
    pairs = [
        Pair(song.name, song.stems, found[song.path], song.mixture)
        for song in songs
        if any(stem in found[song.path] for stem in song.stems)
    ]
    if not pairs:
        raise UsageError(
            f"{reference} and {estimate} have no stem in common: "
            "both need files with the same names, such as vocals.wav, or folders of songs that hold them"
        )
    if songs[0].path == reference and looks_like_songs(songs[0]):
        on_warning(f"{', '.join(songs[0].stems)} are taken for stems of one song: songs have a folder each")
    missing = [f"{song.name}/{stem}" for song in songs for stem in song.stems if stem not in found[song.path]]
    return pairs, tuple(missing)


def _refuse_songs(song: SongFolder, estimate: Path) -> None:
    """Refuse a folder of songs in the place of a folder of stems. Raises: UsageError."""
    separated = [name for name in song.stems if (estimate / name).is_dir()]
    if looks_like_songs(song) and (separated or len(song.stems) == 1):
        name = (separated or list(song.stems))[0]
        raise UsageError(
            f"{song.stems[name]} looks like a song, not like a stem of one: a song is a folder with its true stems, "
            f"as in {song.path / name / 'vocals.wav'}, and its estimates are in {estimate / name}"
        )


def evaluate_song(pair: Pair, frame_sdr: FrameSDR | None = None) -> SongScore:
    """Score the files of one song in one pass. Raises: AudioError, see `seconds_together`."""
    true = {("true", stem): path for stem, path in pair.references.items()}
    stems = [stem for stem in pair.references if stem in pair.estimates]
    paths = true | {("estimate", stem): pair.estimates[stem] for stem in stems}
    if pair.mixture is not None:
        paths["mixture", ""] = pair.mixture
    parts = (
        Part(
            {stem: block["true", stem] for stem in stems},
            {stem: block["estimate", stem] for stem in stems},
            block["mixture", ""] if pair.mixture else np.stack([block[key] for key in true]).sum(axis=0),
        )
        for block in seconds_together(paths)
    )
    return SongScore(pair.song, score_parts(parts, frame_sdr))


def seconds_together(paths: Mapping[Key, Path]) -> Iterator[dict[Key, np.ndarray]]:
    """Read several files together, and yield each second of them: (channels, n), with the same n for all files.

    The last second may be shorter.

    Raises:
        AudioError: the files differ in sample rate, channels or length.
    """
    infos = [probe(path) for path in paths.values()]
    for info in infos[1:]:
        _require_one_kind(infos[0], info)
    with ExitStack() as stack:
        second = infos[0].sample_rate
        readers = [stack.enter_context(closing(rechunked(blocks(info, second), second))) for info in infos]
        position = 0
        while True:
            together = [next(reader, None) for reader in readers]
            ends = [position + (0 if block is None else block.shape[1]) for block in together]
            _require_one_length(tuple(paths.values()), ends)
            found = {key: block for key, block in zip(paths, together, strict=True) if block is not None}
            if not found:
                return
            position = ends[0]
            yield found


def _require_one_kind(first: AudioInfo, other: AudioInfo) -> None:
    """Raise AudioError if two files differ in sample rate or channels."""
    for what in ("sample_rate", "channels"):
        if getattr(first, what) != getattr(other, what):
            raise AudioError(
                f"{other.path}: {what.replace('_', ' ')} {getattr(other, what)}, but {first.path} has "
                f"{getattr(first, what)}; stems are compared sample by sample, so convert one of them"
            )


def _require_one_length(paths: Sequence[Path], ends: Sequence[int]) -> None:
    """Raise AudioError if one file has ended before another. `ends` are the samples read from each so far."""
    for path, end in zip(paths, ends, strict=True):
        if end != ends[0]:
            short, long = (path, paths[0]) if end < ends[0] else (paths[0], path)
            raise AudioError(
                f"{short}: ends after {min(end, ends[0])} samples, but {long} goes on; "
                "stems are compared sample by sample, so trim or render one of them again"
            )
