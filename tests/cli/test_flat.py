"""A template that puts all stems beside one another leaves no folder for a manifest alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from said import Run
from tiny import STEMS, files_in, save_tiny, write_song

from stemsplit.files.leftovers import clear_below
from stemsplit.files.manifest import aside_path, kept_path, manifests_aside, read_manifest
from stemsplit.machine.disk import sha256_of
from stemsplit.machine.together import CLAIM_NAME, STAGE_PREFIX
from stemsplit.networks.bsmamba import BSMamba

HOME = Path("out/song/stemsplit.json")
ASIDE = Path("out/.stemsplit/song.json")
FLAT = ("-m", "tiny", "-o", "out", "--template", "{track} {stem}.{ext}")
FOLDERS = ("-m", "tiny", "-o", "out")
STEM_FILES = {f"song {stem}.wav" for stem in STEMS}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a song and a model, which one stands in."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny")
    write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 6000)), 8000, "PCM_24")
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Any:
    """After a call of it every network fails."""

    def fail(*_: object) -> None:
        raise AssertionError("the network ran")

    return lambda: monkeypatch.setattr(BSMamba, "forward", fail)


def test_the_manifest_is_aside_and_the_run_is_resumed(run: Run, no_network: Any) -> None:
    (told,) = run("separate", "song.wav", *FLAT, "--json").objects
    assert files_in(Path("out")) == {".stemsplit", ".stemsplit/song.json", *STEM_FILES}
    assert told["manifest"] == str(ASIDE)
    no_network()
    again = run("separate", "song.wav", *FLAT)
    assert (again.code, "song.wav: done already in out " in again.err) == (0, True)
    assert run("separate", "song.wav", *FLAT, "--json").objects[0]["manifest"] == str(ASIDE)
    Path("out/song vocals.wav").write_bytes(b"changed")
    assert "the network ran" in run("separate", "song.wav", *FLAT, "--debug").err
    Path("out/song vocals.wav").unlink()
    assert "the network ran" in run("separate", "song.wav", *FLAT, "--debug").err


def test_songs_in_folders_leave_none_but_those_of_the_template(run: Run, no_network: Any, place: Path) -> None:
    for number, name in enumerate(("a/song.wav", "b/song.wav")):
        (place / name).parent.mkdir()
        write_song(place / name, np.random.default_rng(number).normal(0, 0.1, (2, 6000)), 8000, "PCM_24")
    flat = ("-m", "tiny", "-o", "out", "--template", "{folder}-{track}-{stem}.{ext}", "--stems", "bass")
    assert run("separate", "a", "b", *flat).code == 0
    asides = {".stemsplit", ".stemsplit/a", ".stemsplit/a/song.json", ".stemsplit/b", ".stemsplit/b/song.json"}
    assert files_in(Path("out")) == {"a-song-bass.wav", "b-song-bass.wav", *asides}
    nested = ("-m", "tiny", "-o", "in", "--template", "{folder} {track} {stem}.{ext}", "--stems", "bass")
    assert run("separate", ".", *nested).code == 0
    assert files_in(Path("in")) == {
        ".stemsplit", ".stemsplit/a", ".stemsplit/a/a", ".stemsplit/a/a/song.json", "a a", "a a/song bass.wav",
        ".stemsplit/b", ".stemsplit/b/b", ".stemsplit/b/b/song.json", "b b", "b b/song bass.wav",
        f".stemsplit/{place.name}", f".stemsplit/{place.name}/song.json", f"{place.name} song bass.wav",
    }  # fmt: skip
    no_network()
    assert run("separate", "a", "b", *flat).err.count("done already") == 2
    assert run("separate", ".", *nested).err.count("done already") == 3
    assert run("player", "in").code == 0
    assert not Path("in/.stemsplit").exists()
    assert run("separate", ".", *nested).err.count("done already") == 3


def test_one_file_without_the_voice_comes_alone(run: Run) -> None:
    assert run("separate", "song.wav", *FOLDERS, "--without", "vocals").code == 0
    assert files_in(Path("out")) == {".stemsplit", ".stemsplit/song.json", "song (no vocals).wav"}


def test_a_folder_that_is_made_later_takes_the_manifest_in(run: Run, no_network: Any) -> None:
    assert run("separate", "song.wav", *FOLDERS, "--without", "vocals").code == 0
    assert run("separate", "song.wav", *FOLDERS).code == 0
    stems = {f"song/{stem}.wav" for stem in STEMS}
    assert files_in(Path("out")) == {"song (no vocals).wav", "song", "song/stemsplit.json", *stems}
    no_network()
    assert "done already" in run("separate", "song.wav", *FOLDERS, "--without", "vocals").err
    assert "done already" in run("separate", "song.wav", *FOLDERS).err
    assert run("separate", "song.wav", *FLAT).code == 0  # derived: the manifest stays where one is
    assert not ASIDE.exists()
    assert "done already" in run("separate", "song.wav", *FOLDERS, "--without", "vocals").err


def test_manifests_of_earlier_versions_are_read_where_they_are(run: Run, no_network: Any) -> None:
    assert run("separate", "song.wav", *FLAT).code == 0
    HOME.parent.mkdir()
    ASIDE.rename(HOME)
    ASIDE.parent.rmdir()
    no_network()
    assert "done already" in run("separate", "song.wav", *FLAT).err
    assert run("separate", "song.wav", *FLAT, "-f", "flac").code == 0
    assert len((read_manifest(HOME) or {})["selections"]) == 1
    assert not ASIDE.parent.exists()


def test_other_commands_find_what_is_aside(run: Run, no_network: Any) -> None:
    assert run("separate", "song.wav", *FLAT).code == 0
    no_network()
    assert run("mix", "song.wav", "-o", "out", "--without", "vocals").code == 0
    assert run("separate", "song.wav", *FLAT, "-f", "flac").code == 0
    assert files_in(Path("out")) == {
        ".stemsplit", ".stemsplit/song.json", "song (no vocals).wav", *STEM_FILES,
        *(name.replace(".wav", ".flac") for name in STEM_FILES),
    }  # fmt: skip
    assert run("separate", "song.wav", *FOLDERS).code == 0
    assert HOME.exists()


def test_the_page_of_a_song_has_a_folder_and_the_manifest_goes_there(run: Run) -> None:
    assert run("separate", "song.wav", *FLAT).code == 0
    assert run("player", "out").code == 0
    assert files_in(Path("out")) == {"song", "song/stemsplit.json", "song/player.html", *STEM_FILES}
    assert "skip" in run("player", "out").err or run("player", "out").code == 0
    assert "done already" in run("separate", "song.wav", *FLAT).err


def test_what_lies_flat_is_no_song(run: Run) -> None:
    assert run("separate", "song.wav", *FLAT).code == 0
    told = run("separate", ".", "-m", "tiny", "-o", "elsewhere", "--json").objects
    assert [one["source"] for one in told] == ["song.wav"]
    told = run("separate", ".", *FLAT, "--json").objects
    assert [one["status"] for one in told] == ["skipped"]


def test_a_song_of_that_name_is_not_written_over(run: Run, place: Path) -> None:
    assert run("separate", "song.wav", *FLAT).code == 0
    Path("other").mkdir()
    write_song(place / "other" / "song.wav", np.random.default_rng(1).normal(0, 0.1, (2, 6000)), 8000, "PCM_24")
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    said = run("separate", "other/song.wav", "-m", "tiny", "-o", "out", "--template", "{track}-{stem}.{ext}")
    assert (said.code, "song.json is there, and not made of other/song.wav" in said.err) == (1, True)
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


def test_a_run_killed_while_its_files_got_their_names_leaves_its_manifest() -> None:
    Path("out").mkdir()
    Path("out/song vocals.wav").write_bytes(b"in place")
    stage = ASIDE.parent / f"{STAGE_PREFIX}0123abcd"
    stage.mkdir(parents=True)
    (stage / CLAIM_NAME).touch()
    outputs = {"vocals": {"path": "../song vocals.wav", "sha256": sha256_of(Path("out/song vocals.wav"))}}
    (stage / ASIDE.name).write_text(json.dumps({"format": 1, "outputs": outputs}))
    clear_below(Path("out"))
    assert files_in(Path("out")) == {"song vocals.wav", ".stemsplit", ".stemsplit/song.json"}


def test_a_name_too_long_for_it_keeps_its_folder() -> None:
    home = Path("out", "a" * 251, "stemsplit.json")
    assert aside_path(home, [Path("out/x.wav")]) == kept_path(home) == home
    assert manifests_aside(Path("out")) == {}


@pytest.mark.parametrize(
    ("home", "file", "aside"),
    [
        ("out/song/stemsplit.json", "out/x.wav", "out/.stemsplit/song.json"),
        ("song/stemsplit.json", "x.wav", ".stemsplit/song.json"),
        ("out/a/song/stemsplit.json", "out/x.wav", "out/.stemsplit/a/song.json"),
        ("out/a/song/stemsplit.json", "out/a/x.wav", "out/a/.stemsplit/song.json"),
        ("out/a/song/stemsplit.json", "out/b/x.wav", "out/.stemsplit/a/song.json"),
        ("../out/song/stemsplit.json", "../out/x.wav", "../out/.stemsplit/song.json"),
        ("in/../out/song/stemsplit.json", "in/../out/x.wav", "in/../out/.stemsplit/song.json"),
        ("/out/a.v2/stemsplit.json", "/out/b/c.wav", "/out/.stemsplit/a.v2.json"),
        ("stemsplit.json", "x.wav", "stemsplit.json"),
    ],
)
def test_a_manifest_aside_is_as_deep_as_its_place(home: str, file: str, aside: str) -> None:
    found = aside_path(Path(home), [Path(file)])
    assert found == Path(aside)
    assert len(found.parts) == len(Path(home).parts)


def test_a_file_of_somebody_is_not_taken_for_a_manifest_aside() -> None:
    """Not by way of .stemsplit/.. either."""
    mine = Path("song.json")
    mine.write_text('{"format": 1}')
    Path(".stemsplit").mkdir()
    home = Path("../song/stemsplit.json")
    assert kept_path(home) == home
    stage = Path(".stemsplit", f"{STAGE_PREFIX}0123abcd")
    stage.mkdir()
    (stage / "x.json").touch()
    assert manifests_aside(Path()) == {}
    assert mine.exists()
