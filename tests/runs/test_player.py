"""The page beside the stems: written with them, renewed when they change, left alone when it is somebody else's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import STEMS, fake_separator, files_in, write_song

from stemsplit.errors import TargetCollisionError, UsageError
from stemsplit.files.inputs import find_inputs
from stemsplit.files.manifest import write_manifest
from stemsplit.melody.contour import Contour
from stemsplit.melody.formats import write_contour
from stemsplit.options import SeparateOptions
from stemsplit.player.index import page_data
from stemsplit.runs.jobs import Outcome, run
from stemsplit.runs.player import Asked, plan_page, songs_below, write_index, write_pages
from stemsplit.runs.separate import plan, work_for

PAGE = Path("out/song/player.html")
RATE = 44100


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_song(Path("song.wav"), np.random.default_rng(0).normal(0, 0.1, (2, 20001)), RATE)


def separate(song: Path, **asked: Any) -> Outcome:
    options = SeparateOptions(output=Path("out"), device="cpu", **{"player": True, **asked})
    separator = fake_separator(options)
    (outcome,) = run(plan(find_inputs([song], options.output), separator, options), work_for(separator, options))
    return outcome


def pages(force: bool = False) -> list[tuple[str, str]]:
    found = write_pages(Path("out"), songs_below(Path("out")), Asked(force=force), print)
    return [(page.name, status) for page, status, _ in found]


def test_the_page_comes_with_the_stems_and_is_no_stem(song: Path) -> None:
    outcome = separate(song)
    assert outcome.status == "done"
    assert set(outcome.outputs) == set(STEMS)
    manifest = json.loads(Path("out/song/stemsplit.json").read_text())
    assert manifest["player"]["path"] == PAGE.name
    assert files_in(Path("out/song")) == {*(f"{stem}.wav" for stem in STEMS), "stemsplit.json", PAGE.name}
    assert separate(song).status == "skipped"
    found = [item.path.name for item in find_inputs([Path("out")], Path("other"))]
    assert PAGE.name not in found


def test_a_page_that_is_missing_is_written_without_the_network(song: Path) -> None:
    separate(song, player=False)
    before = {path: path.stat().st_mtime_ns for path in Path("out/song").glob("*.wav")}
    assert separate(song).status == "done"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    whole = PAGE.read_bytes()
    PAGE.unlink()
    assert pages() == [(PAGE.name, "done")]
    assert PAGE.read_bytes() == whole
    assert pages() == [(PAGE.name, "skipped")]
    assert pages(force=True) == [(PAGE.name, "done")]


def test_a_foreign_page_is_left_alone(song: Path) -> None:
    separate(song, player=False)
    PAGE.write_text("mine")
    outcome = separate(song)
    assert outcome.status == "failed"
    assert isinstance(outcome.error, TargetCollisionError)
    assert pages() == [(PAGE.name, "failed")]
    assert PAGE.read_text() == "mine"
    assert separate(song, force=True).status == "done"


def test_several_songs_get_an_index(song: Path) -> None:
    separate(song)
    assert write_index(Path("out"), force=False) is None
    separate(write_song(Path("<b>&.wav"), np.zeros((1, 9000)), RATE))
    index = write_index(Path("out"), force=False)
    assert index is not None
    text = index.read_text(encoding="utf-8")
    assert "song/player.html" in text
    assert "<b>&" not in text
    assert write_index(Path("out"), force=False) == index


def test_a_folder_without_stems_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no stems of"):
        songs_below(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        songs_below(tmp_path / "nope")


MANIFEST = Path("out/song/stemsplit.json")


def data_of(page: Path = PAGE) -> dict[str, Any]:
    found = page_data(page)
    assert found is not None
    return found


def test_the_page_stays_ours_when_other_stems_are_made(song: Path) -> None:
    separate(song)
    separate(song, format="flac", player=False)
    manifest = json.loads(MANIFEST.read_text())
    assert "player" not in manifest
    assert PAGE.name in manifest["earlier"]
    separate(song, format="flac")
    assert PAGE.name not in json.loads(MANIFEST.read_text())["earlier"]
    assert {stem["kind"] for stem in data_of()["stems"]} == {"FLAC"}
    assert [path.name for path in Path("out/song").glob(".*")] == []


def test_a_flat_template_links_to_where_the_stems_are(song: Path) -> None:
    separate(song, template="{stem} of {track}#1.{ext}")
    assert data_of()["stems"][0]["file"] == "./../drums%20of%20song%231.wav"


def write_melody(folder: Path, sha256: str) -> None:
    sung = np.ones(100, dtype=bool)
    write_contour(folder / "song.f0.csv", Contour(0.01, np.full(100, 220.0), sung.astype(np.float32), sung))
    outputs = {"f0": {"path": "song.f0.csv", "sha256": ""}}
    write_manifest(folder / "song.melody.json", {"input": {"sha256": sha256}, "outputs": outputs})


def test_the_melody_of_this_song_is_drawn_over_its_vocals(song: Path) -> None:
    separate(song)
    assert data_of()["melody"] is None
    write_melody(Path("melody"), "of another song")
    assert separate(song).status == "skipped"
    write_melody(Path("melody"), json.loads(MANIFEST.read_text())["input"]["sha256"])
    assert separate(song).status == "done"
    assert data_of()["melody"]["notes"] == [0, 100, 57]
    assert STEMS[data_of()["melody"]["stem"]] == "vocals"


def test_a_long_song_is_played_from_its_files(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    separate(song, player=False)
    monkeypatch.setattr("stemsplit.runs.player.LONGEST_INSIDE", 4 * 20000 / RATE)
    assert not plan_page(MANIFEST, Asked()).embed
    assert plan_page(MANIFEST, Asked(audio="embed")).embed


def test_what_cannot_be_played_is_named(song: Path) -> None:
    separate(song, player=False)
    Path("out/song/bass.wav").unlink()
    with pytest.raises(UsageError, match=r"bass\.wav: no such file"):
        plan_page(MANIFEST, Asked())
    for damage in ("", "{", '{"format": 1}', '{"format": 1, "outputs": {"a": 1}}'):
        MANIFEST.write_text(damage)
        with pytest.raises(UsageError, match="separate the song again"):
            plan_page(MANIFEST, Asked())
