"""Songs packed into files of a limited size, to train on another machine; unpacked they are folders of arrays again.

A shard is an uncompressed zip file with a member `SONG/STEM.mdct` for each `STEM.npy` or `STEM.flac` (see `codec`), and
the song's JSON files as they are. Stems are packed one by one. The mixture is by definition their sum, so the stems
stay exact.
"""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from stemsplit.errors import StemsplitError
from stemsplit.machine.disk import write_whole
from stemsplit.training.examples import codec

LIMIT_BYTES = 60_000_000
"""Size of a shard at most."""
_END, _PER_MEMBER = 64, 128  # bytes that a zip file needs beside its members, and per member beside data and name


def pack(
    songs: Sequence[Path], target: Path, limit_bytes: int = LIMIT_BYTES, *, total_bytes: int | None = None
) -> list[Path]:
    """Write `target`-000.zip and so on, of as many songs as `total_bytes` hold, and return their paths.

    No song is split. Of folders with the same name the second is called NAME-2, and so on.

    Raises:
        StemsplitError: One song exceeds the limit of a shard.
        OutputError: The disk refuses a shard.
    """
    written: list[Path] = []
    members: list[tuple[str, bytes]] = []
    size, left = _END, total_bytes
    names: set[str] = set()
    for song in songs:
        names.add(name := _fresh(song.name, names))
        more = list(_members(song, name))
        needed = sum(len(data) + 2 * len(name.encode()) + _PER_MEMBER for name, data in more)
        if left is not None:
            if needed + _END > left:
                break
            left -= needed
        if needed + _END > limit_bytes:
            raise StemsplitError(f"{song}: takes {needed} bytes, more than a whole shard of {limit_bytes}")
        if size + needed > limit_bytes:
            written.append(_write(target, len(written), members))
            members, size = [], _END
        members += more
        size += needed
    return [*written, _write(target, len(written), members)] if members else written


def _fresh(name: str, taken: set[str]) -> str:
    """Return the name, or with a number behind it the first that is not taken."""
    numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(one for one in numbered if one not in taken)


def _members(song: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the data of each member that a song's folder becomes."""
    for path in sorted(song.iterdir()):
        if path.suffix == ".json":
            yield f"{name}/{path.name}", path.read_bytes()
        elif path.suffix == ".npy":
            audio = np.load(path)
            if audio.dtype == np.int16 and audio.ndim == 2:  # a pitch curve is not audio
                yield f"{name}/{path.stem}.mdct", codec.encode(audio)
        elif path.suffix == ".flac":
            import soundfile  # only where songs are packed, not where they are unpacked

            audio, _ = soundfile.read(path, dtype="int16", always_2d=True)
            yield f"{name}/{path.stem}.mdct", codec.encode(audio)


def _write(target: Path, number: int, members: Sequence[tuple[str, bytes]]) -> Path:
    path = target.with_name(f"{target.name}-{number:03d}.zip")
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as file:
        for name, data in members:
            file.writestr(zipfile.ZipInfo(name), data)
    write_whole(path, whole.getvalue())
    return path


def unpack(shard: Path, target: Path) -> list[Path]:
    """Write the songs of a shard as folders in `target`, and return their paths.

    The arrays are int16 (samples, channels), as before they were packed.

    Raises:
        StemsplitError: The file is damaged, or no shard, or names a place outside `target`.
    """
    try:
        with zipfile.ZipFile(shard) as file:
            for name in file.namelist():
                _unpack_member(name, file.read(name), target)
            return sorted({target / PurePosixPath(name).parts[0] for name in file.namelist()})
    except zipfile.BadZipFile as error:
        raise StemsplitError(f"{shard}: no shard, or damaged: {error}") from error


def unpack_all(folder: Path, target: Path, threads: int = 1) -> list[Path]:
    """Unpack every NAME-000.zip and so on in `folder` to `target`/NAME, and return the songs' folders.

    What is there already is not unpacked again.

    Raises:
        StemsplitError: There is no shard, or one cannot be unpacked; see `unpack`.
    """
    shards = sorted(folder.glob("*-[0-9][0-9][0-9].zip"))
    if not shards:
        raise StemsplitError(f"no shards in {folder}: recipes/pack_shards.py packs some")
    with ThreadPoolExecutor(threads) as pool:  # Python lets other threads run while LZMA unpacks
        songs = pool.map(lambda shard: _unpack_once(shard, target), shards)
        return [song for of_one in songs for song in of_one]


def _unpack_once(shard: Path, target: Path) -> list[Path]:
    done = target / f"{shard.stem}.done"
    if not done.exists():
        unpack(shard, target / shard.stem.rpartition("-")[0])
        done.touch()
    with zipfile.ZipFile(shard) as file:
        names = {PurePosixPath(name).parts[0] for name in file.namelist()}
    return sorted(target / shard.stem.rpartition("-")[0] / name for name in names)


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
