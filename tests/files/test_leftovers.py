"""What killed runs left goes; what living ones are at, and what is somebody else's, stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import files_in

from stemsplit.files.leftovers import claim_path, clear_below
from stemsplit.files.manifest import MANIFEST_NAME
from stemsplit.machine import claims
from stemsplit.machine.claims import claimed
from stemsplit.machine.disk import sha256_of
from stemsplit.machine.together import CLAIM_NAME, STAGE_PREFIX, written_together


def killed_stage(folder: Path, *names: str) -> Path:
    stage = folder / f"{STAGE_PREFIX}0123abcd"
    stage.mkdir(parents=True)
    for name in (CLAIM_NAME, *names):
        (stage / name).write_text(name)
    return stage


def test_leftovers_go_and_with_them_the_folders_made_for_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed_stage(out / "album" / "song", "vocals.wav", "drums.wav")
    killed_stage(out)
    claim_path(out / "album" / "song" / MANIFEST_NAME).touch()
    claim_path(out / "voices" / "a.melody.json").parent.mkdir()
    claim_path(out / "voices" / "a.melody.json").touch()
    (out / ".vocals.wav.partial-00ff00ff").write_text("of an older version")
    clear_below(out)
    assert files_in(tmp_path) == {"out"}


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    names = ["song.wav", ".hidden", ".note.partial-draft", ".partial-01234567", "x.partial-01234567", ".git/x"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    before = files_in(tmp_path)
    clear_below(tmp_path)
    assert files_in(tmp_path) == before


def test_a_living_run_is_left_in_peace(tmp_path: Path) -> None:
    manifest = tmp_path / "song" / MANIFEST_NAME
    with claimed(claim_path(manifest)), written_together() as together:
        together.aside(tmp_path / "song" / "vocals.wav").write_text("sound")
        before = files_in(tmp_path)
        clear_below(tmp_path)
        assert files_in(tmp_path) == before
    assert files_in(tmp_path) == {"song", "song/vocals.wav"}


def test_where_there_are_no_locks_nobody_knows_who_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_stage(tmp_path, "vocals.wav")
    before = files_in(tmp_path)
    monkeypatch.setattr(claims, "try_lock", lambda descriptor: False)
    clear_below(tmp_path)
    assert files_in(tmp_path) == before


def _manifest(stage: Path, name: str, **hashes: str) -> None:
    outputs = {stem: {"path": f"{stem}.wav", "sha256": sha256} for stem, sha256 in hashes.items()}
    (stage / name).write_text(json.dumps({"format": 1, "outputs": outputs}))


@pytest.mark.parametrize("name", [MANIFEST_NAME, "song.melody.json"])
def test_a_run_killed_while_its_files_got_their_names_leaves_its_manifest(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_text("there already")
    stage = killed_stage(tmp_path, "b.wav")
    _manifest(stage, name, a=sha256_of(tmp_path / "a.wav"), b=sha256_of(stage / "b.wav"))
    clear_below(tmp_path)
    assert files_in(tmp_path) == {"a.wav", name}


@pytest.mark.parametrize("text", [None, "{", '{"format": 1, "outputs": {"a": {"path": "a.wav"}}}'])
def test_a_run_killed_before_that_leaves_nothing(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "a.wav").write_text("somebody's")
    stage = killed_stage(tmp_path, "a.wav")
    _manifest(stage, MANIFEST_NAME, a=sha256_of(stage / "a.wav"))
    if text is not None:
        (stage / MANIFEST_NAME).write_text(text)
    clear_below(tmp_path)
    assert files_in(tmp_path) == {"a.wav"}


def test_what_cannot_be_removed_stays_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_stage(tmp_path, "vocals.wav")

    def refuse(path: Path, *rest: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stemsplit.files.leftovers.try_claim", refuse)
    clear_below(tmp_path)
    assert (tmp_path / f"{STAGE_PREFIX}0123abcd" / "vocals.wav").exists()
