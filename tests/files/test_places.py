"""Addresses as paths, listings of stores, and what their libraries say, in words."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
from fsspec.registry import _registry
from stores import emptied, put_songs

from stemsplit.errors import PlaceError, UsageError
from stemsplit.files.inputs import find_inputs
from stemsplit.files.places import Address, as_address, fetch, mark_of, store_at


def address(text: str) -> Address:
    found = as_address(text)
    assert found is not None
    return found


def test_an_address_is_handled_like_a_path() -> None:
    song = address("S3://bucket/stems") / "album" / "song.wav"
    assert str(song) == f"{song}" == "s3://bucket/stems/album/song.wav"
    assert (song.name, song.suffix, str(song.parent)) == ("song.wav", ".wav", "s3://bucket/stems/album")
    assert isinstance(song.with_name("x"), Address)
    assert str(song.absolute()) == str(pickle.loads(pickle.dumps(song))) == str(song)
    assert str(address("file:///tmp/a b")) == "file:///tmp/a b"
    assert str(address("file://here")) == f"file://{Path.cwd()}/here"
    assert str(address("memory:///x/")) == "memory://x"
    assert {song: 1}[address("s3://bucket/stems/album/song.wav")] == 1
    assert as_address("C:/music") is None
    assert as_address("a:b.wav") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://x.y/z.mp3", "is an address of the web: download it first"),
        ("zip://a::s3://b/c.zip", "within another"),
        ("s3://", "names no folder"),
    ],
)
def test_what_is_no_place_for_songs_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        as_address(text)


def test_paths_of_this_machine_need_no_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stemsplit.files.inputs import find_inputs;"
        "find_inputs([Path(sys.argv[1])], Path('out')); print('fsspec' in sys.modules)"
    )
    (tmp_path / "a.wav").touch()
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def names(text: str, output: str = "counted://elsewhere", stem: str | None = None) -> list[tuple[str, str]]:
    found = find_inputs([address(text)], address(output), stem=stem)
    assert all(item.error is None and item.mark for item in found), found
    return [(item.name, item.track) for item in found]


def test_folders_patterns_and_files_are_found(tmp_path: Path) -> None:
    store = emptied()
    songs = ["a/one.wav", "a/two [live].wav", "b/three.WAV", "b/.hidden.wav", ".x/four.wav", "stems/five/vocals.wav"]
    put_songs(tmp_path, "counted://songs", songs, frames=10)
    for name in ("/songs/a/readme.txt", "/songs/stems/five/stemsplit.json"):
        store.store[name] = store.store["/songs/a/one.wav"]
    start = "counted://songs"
    below = [(f"{start}/a/one.wav", "a/one"), (f"{start}/a/two [live].wav", "a/two [live]")]
    assert names(start) == [*below, (f"{start}/b/three.WAV", "b/three")]
    assert names(start, output=f"{start}/b") == below
    assert names(f"{start}/a/one.wav") == [(f"{start}/a/one.wav", "one")]
    assert names(f"{start}/a/two [live].wav") == [(f"{start}/a/two [live].wav", "two [live]")]
    assert names(f"{start}/*/*.wav") == below
    assert names(f"{start}/[ab]") == [*below, (f"{start}/b/three.WAV", "b/three")]
    assert names(f"{start}/stems", stem="vocals") == [(f"{start}/stems/five/vocals.wav", "five/vocals")]
    for text, told in ((f"{start}/stems", "no audio in this folder"), (f"{start}/x*", "no such file or folder there")):
        (item,) = find_inputs([address(text)], Path("out"))
        assert isinstance(item.error, UsageError)
        assert str(item.error) == f"{text}: {told}"


def test_a_folder_is_listed_once_and_what_is_written_is_known(tmp_path: Path) -> None:
    store = emptied()
    put_songs(tmp_path, "counted://out", ["a/x.wav", "c.wav"], frames=10)
    root = address("counted://out")
    place = store_at(root)
    place.try_out()
    store.asked.clear()
    assert place.size(root / "a" / "x.wav") == len(store.store["/out/a/x.wav"].getvalue())
    assert place.size(root / "b" / "deep" / "x.wav") is None
    assert place.size(root / "a") is None
    assert store.asked == ["list /out", "list /out/a"]
    (tmp_path / "new").write_bytes(b"123")
    place.put(tmp_path / "new", root / "b" / "deep" / "y")
    assert place.size(root / "b" / "deep" / "y") == 3
    place.remove(root / "b" / "deep" / "y")
    assert place.size(root / "b" / "deep" / "y") is None
    assert [asked.split()[0] for asked in store.asked[2:]] == ["put", "remove"]
    for number in range(200):  # more folders than are kept in mind
        store.store[f"/out/{number}/x"] = store.store["/out/c.wav"]
    place.try_out()
    store.asked.clear()
    assert all(place.size(root / str(number) / "x") for number in range(200))
    assert len(store.asked) == 201


def failing(kind: str, text: str, *bases: type[Exception]) -> Exception:
    return type(kind, bases or (Exception,), {})(text)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (failing("NoCredentialsError", "Unable to locate credentials"), "no credentials for it: set its service's own"),
        (PermissionError("Access Denied"), r"no permission: the credentials do not suffice \(Access Denied\)"),
        (FileNotFoundError("The specified bucket does not exist"), "no such bucket there"),
        (FileNotFoundError("a/b"), "no such file or folder there"),
        (failing("EndpointConnectionError", "Could not connect", ConnectionError), "it cannot be reached, or stopped"),
        (failing("ClientPayloadError", "not completed"), "it cannot be reached, or stopped answering"),
        (OSError(28, "No space left on device"), "no space left on device"),
        (failing("OddError", "what\nis this"), "OddError: what is this"),
    ],
)
def test_what_stores_say_is_told_in_a_line(error: Exception, told: str, tmp_path: Path) -> None:
    store = emptied()

    def fail(what: str, path: str) -> None:
        raise error

    store.before.append(fail)
    with pytest.raises(PlaceError, match=rf"^counted://a/b\.wav: {told}"):
        fetch("counted://a/b.wav", tmp_path / "b")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # where another test has used it
    with pytest.raises(UsageError, match=r"pip install 'stemsplit-mamba\[remote\]'"):
        fetch("s3://bucket/song.wav", tmp_path / "x")
    with pytest.raises(UsageError, match="no such kind of address; there are s3://"):
        fetch("nowhere://bucket/song.wav", tmp_path / "x")


def test_a_mark_is_the_surest_that_a_store_tells() -> None:
    about = {"size": 3, "created": "now", "ETag": '"abc"'}
    assert mark_of(about) == 'ETag="abc";bytes=3'
    assert mark_of(MappingProxyType({"size": 3})) == ""
