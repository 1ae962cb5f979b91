"""Songs in shards: sizes, damage, names, and what is unpacked once."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsplit.errors import StemsplitError
from stemsplit.training.examples import codec, shards


def write_song(folder: Path, seed: int) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    stems = {name: rng.integers(-9000, 9000, (8000, 2)).astype(np.int16) for name in ("drums", "vocals")}
    for name, stem in stems.items():
        np.save(folder / f"{name}.npy", stem)
    np.save(folder / "vocals_f0.npy", np.zeros(10, np.float32))
    (folder / "song.json").write_text(json.dumps({"seed": seed}), encoding="utf-8")
    return stems


def test_songs_travel_in_shards_of_a_limited_size(tmp_path: Path) -> None:
    stems = [write_song(tmp_path / "songs" / f"{i:04d}", i) for i in range(3)]
    songs = sorted((tmp_path / "songs").iterdir())
    one = sum(len(codec.encode(stem)) for stem in stems[0].values())
    written = shards.pack(songs, tmp_path / "out" / "train", limit_bytes=round(2.6 * one))
    assert [path.name for path in written] == ["train-000.zip", "train-001.zip"]
    assert all(path.stat().st_size <= 2.6 * one for path in written)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["train-000.zip", "train-001.zip"]
    back = [folder for shard in written for folder in shards.unpack(shard, tmp_path / "back")]
    assert [folder.name for folder in back] == ["0000", "0001", "0002"]
    assert sorted(p.name for p in back[1].iterdir()) == ["drums.npy", "song.json", "vocals.npy"]
    for name, stem in stems[1].items():
        np.testing.assert_array_equal(np.load(back[1] / f"{name}.npy"), codec.decode(codec.encode(stem)))


def test_the_same_songs_make_the_same_bytes(tmp_path: Path) -> None:
    write_song(tmp_path / "0000", 0)
    first, second = (shards.pack([tmp_path / "0000"], tmp_path / name)[0].read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_song_larger_than_a_shard_is_an_error(tmp_path: Path) -> None:
    write_song(tmp_path / "0000", 0)
    with pytest.raises(StemsplitError, match="more than a whole shard"):
        shards.pack([tmp_path / "0000"], tmp_path / "a", limit_bytes=1000)


@pytest.mark.parametrize("name", ["../x/drums.mdct", "drums.mdct", "a/b/drums.mdct", "/a/b"])
def test_a_shard_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(StemsplitError, match="not SONG/FILE"):
        shards.unpack(tmp_path / "bad.zip", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_no_shard_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip at all")
    with pytest.raises(StemsplitError, match="no shard"):
        shards.unpack(tmp_path / "x.zip", tmp_path / "back")


def test_shards_of_every_kind_are_unpacked_once_and_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for place in ("a/0000", "b/0000", "b/0001"):
        write_song(tmp_path / place, seed=len(place))
    songs = [tmp_path / "a" / "0000", tmp_path / "b" / "0000", tmp_path / "b" / "0001"]
    one = shards.pack(songs[:1], tmp_path / "size")[0].stat().st_size
    shards.pack(songs, tmp_path / "out" / "songs", total_bytes=round(2.5 * one))
    shards.pack(songs[2:], tmp_path / "out" / "dev")
    target = tmp_path / "out" / "unpacked"
    found = shards.unpack_all(tmp_path / "out", target, threads=2)
    assert [str(song.relative_to(target)) for song in found] == ["dev/0001", "songs/0000", "songs/0000-2"]
    (target / "dev" / "0001" / "song.json").unlink()
    assert shards.unpack_all(tmp_path / "out", target) == found
    assert not (target / "dev" / "0001" / "song.json").exists()  # what was unpacked is not unpacked again
    with pytest.raises(StemsplitError, match="no shards"):
        shards.unpack_all(tmp_path / "a", target)


def test_flac_songs_travel_as_arrays_do(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).integers(-9000, 9000, (4410, 2)).astype(np.int16)
    for name in ("array", "flac"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "array" / "drums.npy", audio)
    soundfile.write(tmp_path / "flac" / "drums.flac", audio, 44100, subtype="PCM_16")
    shards.pack([tmp_path / "array", tmp_path / "flac"], tmp_path / "packed")
    songs = shards.unpack(tmp_path / "packed-000.zip", tmp_path / "unpacked")
    np.testing.assert_array_equal(*(np.load(song / "drums.npy") for song in songs))
