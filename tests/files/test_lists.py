"""Lists of songs as inputs: what they name is found from where they lie, and one bad line is one bad line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stemsplit.errors import UsageError
from stemsplit.files.inputs import Input, find_inputs
from stemsplit.files.places import Address


def found(path: Path, **how: str) -> tuple[Input, ...]:
    return find_inputs([path], path.parent / "out", **how)


def listed(folder: Path, *lines: str | bytes, name: str = "mix.m3u") -> Path:
    path = folder / name
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    (tmp_path / "disc").mkdir()
    for name in ("a.wav", "disc/b.mp3", "disc/c.flac", "ü #1.wav"):
        (tmp_path / name).touch()
    return tmp_path


def test_songs_come_in_the_order_of_the_list_once_each(songs: Path) -> None:
    path = listed(songs, "\ufeff#EXTM3U", "#EXTINF:12,Somebody - B", "disc/b.mp3", "", "  a.wav\r", "ü #1.wav", "a.wav")
    assert [(item.path, item.track, item.error) for item in found(path)] == [
        (songs / "disc" / "b.mp3", "b", None),
        (songs / "a.wav", "a", None),
        (songs / "ü #1.wav", "ü #1", None),
    ]


def test_paths_are_counted_from_the_list(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (songs / "lists").mkdir()
    path = listed(songs / "lists", "../a.wav", str(songs / "disc" / "b.mp3"), name="x.M3U8")
    monkeypatch.chdir("/")
    assert [item.track for item in found(path)] == ["a", "b"]
    assert all(item.path.is_file() for item in found(path))


def test_a_folder_in_a_list_is_all_songs_in_it(songs: Path) -> None:
    assert [item.track for item in found(listed(songs, "disc"))] == ["b", "c"]


def test_what_other_programs_write(songs: Path) -> None:
    (songs / "name of it.wav").touch()
    old = listed(songs, "ü #1.wav".encode("cp1252"), "disc\\c.flac", f"file://{songs.as_posix()}/name%20of%20it.wav")
    assert [(item.track, item.error) for item in found(old)] == [("ü #1", None), ("c", None), ("name of it", None)]


def test_what_is_missing_is_that_line_s_failure(songs: Path) -> None:
    items = found(listed(songs, "gone.wav", "a.wav", "other.m3u", "https://example.org/x.mp3", "mix.m3u"))
    errors = {item.name.removeprefix(f"{songs}/"): str(item.error) for item in items if item.error}
    assert [item.track for item in items if not item.error] == ["a"]
    assert "gone.wav: no such file or folder" in errors["gone.wav"]
    assert "a list in a list is not followed" in errors["other.m3u"]
    assert "a list in a list is not followed" in errors["mix.m3u"]  # itself, too: nothing goes in circles
    assert "address of the web: download it first" in errors["https://example.org/x.mp3"]
    assert len(items) == 5


def test_addresses_in_a_list_are_those_on_the_command_line(songs: Path) -> None:
    pytest.importorskip("fsspec")
    store = f"local://{songs.as_posix()}"
    items = found(listed(songs, "a.wav", f"{store}/disc", f"{store}/gone.wav"))
    assert [item.track for item in items if not item.error] == ["a", "b", "c"]
    assert [isinstance(item.path, Address) for item in items] == [False, True, True, True]
    assert [item.name for item in items if item.error] == [f"{store}/gone.wav"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no songs in this list"),
        (["# nothing", ""], "no songs in this list"),
        ([b"RIFF\0\0"], "not a list of songs"),
        (["#EXTM3U", "#EXT-X-TARGETDURATION:6", "a.wav"], "a stream in pieces"),
    ],
)
def test_what_is_no_list_of_songs(songs: Path, lines: list[str], why: str) -> None:
    (item,) = found(listed(songs, *lines))
    assert isinstance(item.error, UsageError)
    assert why in str(item.error)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    (item,) = found(tmp_path / "gone.m3u")
    assert "no such file or folder" in str(item.error)


def test_lists_in_a_folder_are_no_songs(songs: Path) -> None:
    listed(songs / "disc", "../a.wav")
    assert [item.track for item in found(songs / "disc")] == ["b", "c"]
