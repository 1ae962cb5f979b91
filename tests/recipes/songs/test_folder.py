"""Songs on disk: whole or not at all, 16 bits, clipped at full scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from songs.folder import UNFINISHED, as_int16, bytes_in, write_song
from stemsplit.errors import OutputError


def test_a_song_is_its_arrays_and_what_it_is(tmp_path: Path) -> None:
    stem = np.array([[0.0, 0.5, 2.0], [-1.0, -2.0, 1e-5]], np.float32)
    (tmp_path / "0000").mkdir()
    (tmp_path / "0000" / "other.npy").write_bytes(b"left by a run that was killed")
    write_song(tmp_path / "0000", {"vocals": as_int16(stem)}, {"title": "Où", "seconds": 1}, "song.json")
    assert sorted(path.name for path in (tmp_path / "0000").iterdir()) == ["song.json", "vocals.npy"]
    assert np.load(tmp_path / "0000" / "vocals.npy").tolist() == [[0, -32767], [16384, -32767], [32767, 0]]
    assert json.loads((tmp_path / "0000" / "song.json").read_text(encoding="utf-8")) == {"title": "Où", "seconds": 1}


def test_a_song_cut_off_halfway_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OSError("disk full")

    arrays = {name: np.zeros((10, 2), np.int16) for name in ("drums", "vocals")}
    monkeypatch.setattr("songs.folder.json.dumps", full)
    with pytest.raises(OSError, match="disk full"):
        write_song(tmp_path / "0000", arrays, {}, "song.json")
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="disk full"):
        write_song(tmp_path / "0000", arrays, {}, "song.json")
    assert not list(tmp_path.iterdir())


def test_stems_can_be_flac_and_what_is_no_stem_stays_an_array(tmp_path: Path) -> None:
    stem = np.random.default_rng(0).integers(-9000, 9000, (5000, 2)).astype(np.int16)
    write_song(tmp_path / "a" / "0000", {"bass": stem, "vocals_f0": np.ones(3, np.float32)}, {}, "song.json", 44100)
    assert sorted(path.name for path in (tmp_path / "a" / "0000").iterdir()) == [
        "bass.flac", "song.json", "vocals_f0.npy",
    ]  # fmt: skip
    read, rate = soundfile.read(tmp_path / "a" / "0000" / "bass.flac", dtype="int16")
    assert rate == 44100
    np.testing.assert_array_equal(read, stem)
    assert bytes_in(tmp_path) == sum(path.stat().st_size for path in (tmp_path / "a" / "0000").iterdir())


def test_a_song_that_was_killed_is_not_seen_and_is_written_anew(tmp_path: Path) -> None:
    left = tmp_path / UNFINISHED / "0000"
    left.mkdir(parents=True)
    (left / "drums.npy").write_bytes(b"half of it")
    assert not list(tmp_path.glob("*/*.npy"))
    write_song(tmp_path / "0000", {"bass": np.zeros((3, 2), np.int16)}, {}, "song.json")
    assert [path.name for path in tmp_path.iterdir()] == ["0000"]
    assert sorted(path.name for path in (tmp_path / "0000").iterdir()) == ["bass.npy", "song.json"]
