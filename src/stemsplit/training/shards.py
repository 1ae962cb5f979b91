"""Songs packed into files of a limited size, to train on another machine; unpacked they are folders of arrays again.

A shard is an uncompressed zip file with a member `SONG/STEM.mdct` for each `STEM.npy` (see `codec`), and the song's
JSON files as they are. Stems are packed one by one and the mixture is by definition their sum, so it stays exact.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from stemsplit.errors import StemsplitError
from stemsplit.training import codec

LIMIT_BYTES = 60_000_000
_END = 64  # what a zip file needs beside its members, and per member beside its name
_PER_MEMBER = 128


def pack(songs: Sequence[Path], target: Path, limit_bytes: int = LIMIT_BYTES) -> list[Path]:
    """Write `target`-000.zip and so on; no song is split. Raises StemsplitError if one song exceeds the limit."""
    written: list[Path] = []
    members: list[tuple[str, bytes]] = []
    size = _END
    for song in songs:
        more = list(_members(song))
        needed = sum(len(data) + 2 * len(name.encode()) + _PER_MEMBER for name, data in more)
        if needed + _END > limit_bytes:
            raise StemsplitError(f"{song}: takes {needed} bytes, more than a whole shard of {limit_bytes}")
        if size + needed > limit_bytes:
            written.append(_write(target, len(written), members))
            members, size = [], _END
        members += more
        size += needed
    return [*written, _write(target, len(written), members)] if members else written


def _members(song: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(song.iterdir()):
        if path.suffix == ".json":
            yield f"{song.name}/{path.name}", path.read_bytes()
        elif path.suffix == ".npy":
            audio = np.load(path)
            if audio.dtype == np.int16 and audio.ndim == 2:  # a pitch curve is not audio
                yield f"{song.name}/{path.stem}.mdct", codec.encode(audio)


def _write(target: Path, number: int, members: Sequence[tuple[str, bytes]]) -> Path:
    path = target.with_name(f"{target.name}-{number:03d}.zip")
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as file:
        for name, data in members:
            file.writestr(zipfile.ZipInfo(name), data)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(whole.getvalue())
    partial.replace(path)
    return path


def unpack(shard: Path, target: Path) -> list[Path]:
    """Write the songs of a shard as folders in `target`, int16 (samples, channels) arrays as before; their paths.

    Raises StemsplitError if the file is damaged, no shard, or names a place outside `target`.
    """
    try:
        with zipfile.ZipFile(shard) as file:
            for name in file.namelist():
                _unpack_member(name, file.read(name), target)
            return sorted({target / PurePosixPath(name).parts[0] for name in file.namelist()})
    except zipfile.BadZipFile as error:
        raise StemsplitError(f"{shard}: no shard, or damaged: {error}") from error


def _unpack_member(name: str, data: bytes, target: Path) -> None:
    parts = PurePosixPath(name).parts
    if len(parts) != 2 or ".." in parts or "/" in parts[0]:
        raise StemsplitError(f"a shard names {name!r}, which is not SONG/FILE")
    path = target / parts[0] / parts[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mdct":
        np.save(path.with_suffix(".npy"), codec.decode(data))
    else:
        path.write_bytes(data)
