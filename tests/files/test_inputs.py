"""Inputs: what earlier runs made is no song wherever it lies, and one bad entry is one bad entry."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from stemsplit.errors import UsageError
from stemsplit.files.inputs import Input, find_inputs
from stemsplit.files.manifest import MANIFEST_NAME

posix = pytest.mark.skipif(os.name != "posix", reason="links and permissions")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def made(manifest: Path, *files: Path, **more: Any) -> None:
    """Stems of an earlier run, and their manifest."""
    touch(*files)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    outputs = {file.stem: {"path": os.path.relpath(file, manifest.parent)} for file in files}
    manifest.write_text(json.dumps({"format": 1, "outputs": outputs, **more}))


def tracks(found: tuple[Input, ...]) -> list[str]:
    return [item.track for item in found if item.error is None and not item.made]


def test_stems_of_a_flat_template_are_no_songs(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "b.wav")
    made(tmp_path / "a" / MANIFEST_NAME, tmp_path / "a - vocals.wav", tmp_path / "a - drums.wav")
    assert tracks(find_inputs([tmp_path], tmp_path)) == ["a", "b"]
    assert tracks(find_inputs([tmp_path], tmp_path / "elsewhere")) == ["a", "b"]


def test_stems_are_no_songs_if_their_manifest_lies_below_the_output(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.wav")
    made(tmp_path / "out" / "a" / MANIFEST_NAME, tmp_path / "in" / "vocals" / "a.wav")
    assert tracks(find_inputs([tmp_path / "in"], tmp_path / "out")) == ["a"]


def test_songs_beside_stems_and_manifests_are_songs(tmp_path: Path) -> None:
    """Of album.wav and a folder album/, separated into the folder where they lie."""
    touch(tmp_path / "album.wav", tmp_path / "album" / "01.wav")
    made(tmp_path / "album" / MANIFEST_NAME, tmp_path / "album" / "vocals.wav")
    assert tracks(find_inputs([tmp_path], tmp_path)) == ["album/01", "album"]


def test_stems_of_another_selection_are_no_songs(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "a" / "vocals.wav")
    made(tmp_path / "a" / MANIFEST_NAME, tmp_path / "a" / "drums.wav", earlier=["vocals.wav"])
    assert tracks(find_inputs([tmp_path], tmp_path)) == ["a"]


def test_the_vocals_of_an_earlier_selection_are_found(tmp_path: Path) -> None:
    vocals = tmp_path / "a" / "vocals.wav"
    kept = {"selections": [{"outputs": {"vocals": {"path": "vocals.wav"}}}], "earlier": ["vocals.wav"]}
    touch(vocals)
    made(tmp_path / "a" / MANIFEST_NAME, tmp_path / "a" / "no vocals.wav", **kept)
    assert [item.path for item in find_inputs([tmp_path], tmp_path / "out", stem="vocals")] == [vocals]


@pytest.mark.parametrize("text", ["", "{", '{"format": 1, "outputs": 3}', '{"format": 1}', "[" * 100_000])
def test_beside_a_manifest_that_cannot_be_read_nothing_is_a_song(tmp_path: Path, text: str) -> None:
    touch(tmp_path / "a.wav", tmp_path / "a" / "vocals.wav", tmp_path / "a" / "more" / "b.wav")
    (tmp_path / "a" / MANIFEST_NAME).write_text(text)
    assert tracks(find_inputs([tmp_path], tmp_path)) == ["a/more/b", "a"]


@posix
def test_a_link_to_a_stem_is_no_song(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.wav")
    made(tmp_path / "out" / "a" / MANIFEST_NAME, tmp_path / "out" / "a" / "vocals.wav")
    (tmp_path / "in" / "favourite.wav").symlink_to(tmp_path / "out" / "a" / "vocals.wav")
    (tmp_path / "in" / "stems").symlink_to(tmp_path / "out")
    assert tracks(find_inputs([tmp_path / "in"], tmp_path / "out")) == ["a"]


def test_stems_named_beside_songs_are_left_out_and_stems_alone_are_meant(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    made(tmp_path / "a" / MANIFEST_NAME, tmp_path / "a - vocals.wav", tmp_path / "a - drums.wav")
    everything = sorted(tmp_path.glob("*.wav"))
    found = find_inputs(everything, tmp_path)
    assert [(item.path.name, item.made) for item in found] == [
        ("a - drums.wav", True), ("a - vocals.wav", True), ("a.wav", False),
    ]  # fmt: skip
    assert tracks(find_inputs(everything[:2], tmp_path)) == ["a - drums", "a - vocals"]
    assert tracks(find_inputs(everything[:2], tmp_path / "elsewhere")) == ["a - drums", "a - vocals"]


def test_a_voice_that_is_named_is_called_after_its_song(tmp_path: Path) -> None:
    for song in ("one", "two"):
        made(tmp_path / song / MANIFEST_NAME, tmp_path / song / "vocals.wav", tmp_path / song / "bass.wav")
    voices = sorted(tmp_path.glob("*/vocals.wav"))
    assert tracks(find_inputs(voices, tmp_path / "out", stem="vocals")) == ["one/vocals", "two/vocals"]
    assert tracks(find_inputs([tmp_path / "one" / "bass.wav"], tmp_path / "out", stem="vocals")) == ["bass"]


# --- what is wrong with one entry


def test_one_bad_name_is_one_failure(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "empty" / "notes.txt")
    names = ["nope.wav", "a.wav", "x" * 300, "empty", "a.wav/b.wav", "nul\0.wav"]
    found = find_inputs([tmp_path / name for name in names], tmp_path / "out")
    assert [str(item.error).rpartition(": ")[2] for item in found] == [
        "no such file or folder", "None", "file name too long", "no audio in this folder", "no such file or folder",
        "embedded null byte",
    ]  # fmt: skip
    assert all(isinstance(item.error, UsageError) for item in found if item.path.name != "a.wav")


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As for a user who may not look into a folder; root may."""
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if Path(os.fspath(path)) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_cannot_be_read_is_one_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in" / "a.wav", tmp_path / "in" / "lost" / "b.wav", tmp_path / "in" / "z" / "c.wav")
    forbid(monkeypatch, tmp_path / "in" / "lost")
    found = find_inputs([tmp_path / "in"], tmp_path / "out")
    assert tracks(found) == ["a", "z/c"]
    assert [str(item.error) for item in found if item.error] == [f"{tmp_path / 'in' / 'lost'}: permission denied"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="POSIX users")
def test_files_that_cannot_be_reached_are_one_failure_each() -> None:
    """In a folder that may be listed and not entered."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are open to their user alone
        Path(folder).chmod(0o755)
        _look_into_a_closed_folder(Path(folder))


def _look_into_a_closed_folder(tmp_path: Path) -> None:
    touch(*(tmp_path / "in" / name for name in ("a.wav", "x/b.wav", "x/c.wav", "x/cover.jpg")))
    (tmp_path / "in" / "x").chmod(0o444)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        found = find_inputs([tmp_path / "in"], tmp_path / "out")
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / "in" / "x").chmod(0o755)
    assert tracks(found) == ["a"]
    assert sorted(str(item.error) for item in found if item.error) == [
        f"{tmp_path}/in/x/{name}.wav: permission denied" for name in "bc"
    ]


@posix
def test_links_that_lead_in_circles_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "me").symlink_to(tmp_path / "in" / "me")
    (tmp_path / "in" / "gone").symlink_to(tmp_path / "nowhere")
    found = find_inputs([tmp_path / "in", tmp_path / "in" / "gone"], tmp_path / "out")
    assert tracks(found) == ["a"]
    assert "a link that leads nowhere" in str(found[-1].error)
