"""`stemsplit player`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from said import Run
from tiny import save_tiny, write_song

RATE = 8000
HOSTILE = "</script><script>alert(1)<"


@pytest.fixture
def stems(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("one", "two")):
        write_song(tmp_path / "songs" / f"{name}.wav", np.random.default_rng(number).normal(0, 0.1, (2, RATE)), RATE)
    assert run("separate", "songs", "-m", save_tiny(tmp_path / "tiny"), "-q").code == 0
    return tmp_path / "separated"


def test_a_folder_of_songs(run: Run, stems: Path) -> None:
    said = run("player", "separated")
    assert said.code == 0
    assert said.out.splitlines() == [
        f"separated/{name}" for name in ("one/player.html", "two/player.html", "index.html")
    ]
    again = run("player", "separated", "--json")
    assert [json.loads(line)["status"] for line in again.out.splitlines()] == ["skipped", "skipped"]
    assert "up to date" in again.err


def test_one_song(run: Run, stems: Path) -> None:
    said = run("player", "separated/one", "--audio", "link")
    assert (said.code, said.out) == (0, "separated/one/player.html\n")
    assert '"embedded":false' in (stems / "one" / "player.html").read_text(encoding="utf-8")


def test_a_song_that_fails_stops_no_other(run: Run, stems: Path) -> None:
    (stems / "one" / "vocals.wav").unlink()
    said = run("player", "separated")
    assert said.code == 1
    assert said.out == "separated/two/player.html\n"
    assert "separated/one/vocals.wav: no such file" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["songs/one.wav"], "songs/one.wav: no folder"),
        (["songs"], "songs: no stems of `stemsplit separate` in it"),
        (["separated", "--audio", "loud"], "'loud'"),
    ],
)
def test_refusals(run: Run, stems: Path, arguments: list[str], message: str) -> None:
    said = run("player", *arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_a_pipe_has_no_page(run: Run, stems: Path) -> None:
    said = run("separate", "songs/one.wav", "-o", "-", "--player")
    assert said.code == 2
    assert "--player" in said.err


def test_a_hostile_name_is_only_a_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = HOSTILE.replace("/", "∕")  # a file name holds no slash, but tags do
    song = write_song(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, (2, RATE)), RATE)
    from mutagen.id3 import TIT2
    from mutagen.wave import WAVE

    tagged = WAVE(song)
    tagged.add_tags()
    tagged.tags.add(TIT2(encoding=3, text=[HOSTILE]))
    tagged.save()
    assert run("separate", song, "-m", save_tiny(tmp_path / "tiny"), "--player", "-q").code == 0
    (page,) = tmp_path.glob("separated/*/player.html")
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<h1>&lt;/script&gt;&lt;script&gt;alert(1)&lt;</h1>" in text
