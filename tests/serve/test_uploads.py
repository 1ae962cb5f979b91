"""Names of uploads: safe on every system, and never those of another song."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stemsplit.serve.uploads import NAME_BYTES, Waiting, free_track, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("song.mp3", "song.mp3"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/cron.d/x.wav", "x.wav"),
        ("C:\\music\\a.flac", "a.flac"),
        ("..", "song"),
        ("...", "song"),
        ("", "song"),
        (".hidden.wav", "hidden.wav"),
        ("a\0b.wav", "a_b.wav"),
        ("a\nb.wav", "a_b.wav"),
        ('<a>:"|?*.wav', "_a______.wav"),
        ("CON.wav", "_CON.wav"),
        ("com1", "_com1"),
        ("evil\u202egnp.wav", "evil_gnp.wav"),
        ("e\u0301tude.wav", "étude.wav"),
        ("曲 🎵.ogg", "曲 🎵.ogg"),
        ("song. .", "song"),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert safe_name(safe) == safe


@pytest.mark.parametrize("name", ["é" * 500 + ".wav", "a" * 500, "x." + "y" * 500])
def test_a_long_name_is_cut_and_keeps_its_suffix(name: str) -> None:
    safe = safe_name(name)
    assert len(os.fsencode(safe)) <= NAME_BYTES
    assert safe.endswith(".wav") == name.endswith(".wav")
    assert safe_name(safe) == safe


def made(output: Path, track: str, sha256: str) -> None:
    folder = output / track
    folder.mkdir(parents=True)
    (folder / "stemsplit.json").write_text(json.dumps({"format": 1, "input": {"sha256": sha256}}), encoding="utf-8")


def test_another_song_of_the_same_name_has_a_folder_of_its_own(tmp_path: Path) -> None:
    made(tmp_path, "song", "a")
    assert free_track(tmp_path, "song.mp3", "a", []) == "song"
    assert free_track(tmp_path, "song.flac", "b", []) == "song (2)"
    assert free_track(tmp_path, "song.flac", "c", [Waiting("song (2)", "b")]) == "song (3)"
    assert free_track(tmp_path, "song.flac", "b", [Waiting("song (2)", "b")]) == "song (2)"
    assert free_track(tmp_path, "SONG2.mp3", "b", [Waiting("song2", "a")]) == "SONG2 (2)"


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "song").mkdir()
    (tmp_path / "song" / ".claim").touch()
    assert free_track(tmp_path, "song.mp3", "a", []) == "song"
    (tmp_path / "song" / "notes.txt").touch()
    assert free_track(tmp_path, "song.mp3", "a", []) == "song (2)"
    (tmp_path / "one").touch()
    assert free_track(tmp_path, "one.mp3", "a", []) == "one (2)"
