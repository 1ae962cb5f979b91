"""The manifest: what it says survives any file name, and it holds only while nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stemsplit.errors import OutputError
from stemsplit.files.manifest import (
    MANIFEST_NAME,
    output_paths,
    output_record,
    read_manifest,
    still_holds,
    write_manifest,
)
from stemsplit.machine.disk import sha256_of

SETTINGS = {"format": "wav", "overlap": 0.5, "outputs": {"vocals": {"stems": ["vocals"], "residual": False}}}


@pytest.fixture
def work(tmp_path: Path) -> dict[str, Any]:
    """Finished work on disk, as the arguments of `still_holds`."""
    source, folder = tmp_path / "song.wav", tmp_path / "out" / "song"
    source.write_bytes(b"the song")
    folder.mkdir(parents=True)
    targets = {name: folder / f"{name}.wav" for name in ("vocals", "bass")}
    for name, path in targets.items():
        path.write_text(name)
    manifest = folder / MANIFEST_NAME
    about = {
        "input": {"path": "song.wav", "sha256": sha256_of(source)},
        "model": {"reference": "m", "sha256": "a" * 64},
        "settings": SETTINGS,
        "outputs": {name: output_record(manifest, path, path, 0.5) for name, path in targets.items()},
    }
    write_manifest(manifest, about)
    return {"path": manifest, "source": source, "model_sha256": "a" * 64, "settings": SETTINGS, "targets": targets}


def holds(work: dict[str, Any], **changed: Any) -> bool:
    arguments = work | changed
    return still_holds(arguments.pop("path"), **arguments)


def test_it_holds_while_nothing_changes(work: dict[str, Any]) -> None:
    assert holds(work)
    assert read_manifest(work["path"])["outputs"]["bass"]["path"] == "bass.wav"  # type: ignore[index]


def test_a_moved_folder_still_holds(work: dict[str, Any], tmp_path: Path) -> None:
    moved = (tmp_path / "out").rename(tmp_path / "moved") / "song"
    targets = {name: moved / path.name for name, path in work["targets"].items()}
    assert holds(work, path=moved / MANIFEST_NAME, targets=targets)


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": "b" * 64},
        {"settings": {**SETTINGS, "overlap": 0.75}},
        {"settings": {**SETTINGS, "new": None}},
    ],
)
def test_another_request_is_other_work(work: dict[str, Any], change: dict[str, Any]) -> None:
    assert not holds(work, **change)


def test_other_targets_are_other_work(work: dict[str, Any]) -> None:
    targets = work["targets"]
    assert not holds(work, targets={"vocals": targets["vocals"]})
    assert not holds(work, targets={**targets, "drums": targets["bass"]})
    assert not holds(work, targets={**targets, "bass": targets["bass"].with_suffix(".flac")})


@pytest.mark.parametrize("victim", ["source", "stem"])
@pytest.mark.parametrize("what", ["changed", "same length", "gone", "a folder"])
def test_a_changed_file_no_longer_holds(work: dict[str, Any], victim: str, what: str) -> None:
    path: Path = work["source"] if victim == "source" else work["targets"]["vocals"]
    content = path.read_bytes()
    path.unlink()
    if what == "changed":
        path.write_bytes(content + b"!")
    elif what == "same length":
        path.write_bytes(content[::-1])
    elif what == "a folder":
        path.mkdir()
    assert not holds(work)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda manifest: "{",
        lambda manifest: "[]",
        lambda manifest: "",
        lambda manifest: json.dumps(manifest | {"format": 2}),
        lambda manifest: json.dumps(manifest | {"outputs": 3}),
        lambda manifest: json.dumps(manifest | {"outputs": {}}),
        lambda manifest: json.dumps(manifest | {"outputs": {"vocals": {}, "bass": {}}}),
        lambda manifest: json.dumps(manifest | {"input": None}),
        lambda manifest: json.dumps({k: v for k, v in manifest.items() if k != "model"}),
    ],
)
def test_a_spoiled_manifest_does_not_hold(work: dict[str, Any], spoil: Callable[[Any], str]) -> None:
    path: Path = work["path"]
    path.write_text(spoil(json.loads(path.read_text())))
    assert not holds(work)


def test_no_manifest_does_not_hold(work: dict[str, Any]) -> None:
    work["path"].unlink()
    assert not holds(work)


def test_names_of_any_kind_survive(tmp_path: Path) -> None:
    names = ["Björk – Jóga", "日本 \N{MUSICAL SYMBOL G CLEF}", 'a"b\\c\n', "caf\udce9"]
    write_manifest(tmp_path / MANIFEST_NAME, {"warnings": names})
    manifest = read_manifest(tmp_path / MANIFEST_NAME)
    assert manifest is not None
    assert manifest["warnings"] == names
    assert "Björk" in (tmp_path / MANIFEST_NAME).read_text(encoding="utf-8")


def test_stems_outside_of_the_manifest_s_folder_are_found_again(tmp_path: Path) -> None:
    manifest, target = tmp_path / "song" / MANIFEST_NAME, tmp_path / "vocals" / "song.wav"
    target.parent.mkdir()
    target.write_bytes(b"x")
    record = output_record(manifest, target, target, 1.0)
    assert record["path"] == "../vocals/song.wav"
    assert output_paths(manifest, {"outputs": {"vocals": record}}) == {"vocals": target}


def test_a_manifest_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_manifest(tmp_path / "file" / MANIFEST_NAME, {})
    (tmp_path / MANIFEST_NAME).mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_manifest(tmp_path / MANIFEST_NAME, {})
    assert {path.name for path in tmp_path.iterdir()} == {"file", MANIFEST_NAME}
