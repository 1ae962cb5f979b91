"""`stemsplit karaoke`: a song to sing, out of one command, and again after its words have changed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from said import Run
from tiny import files_in, save_tiny, write_song
from tiny_melody import save_tiny_melody, voice

COMMAND = importlib.import_module("stemsplit.cli.karaoke")


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: Callable[..., np.ndarray]) -> None:
    save_tiny(tmp_path / "tiny")
    monkeypatch.setattr(COMMAND, "DEFAULT_MELODY_MODEL", str(save_tiny_melody(tmp_path / "tiny-melody")))
    monkeypatch.chdir(tmp_path)
    write_song(tmp_path / "song.wav", np.stack([voice(1.0, 220.0)] * 2) + 0.1 * sound(2, 16000, 16000), 16000)


def test_a_song_to_sing(run: Run) -> None:
    Path("party.m3u").write_text("song.wav\n")
    said = run("karaoke", "party.m3u", "-m", "tiny", "-o", "k", "--json")
    assert said.code == 0, said.err
    assert [one["status"] for one in said.objects] == ["done", "done"]
    beside = {"song", "song.f0.csv", "song.mid", "song.txt", "song.melody.json"}
    assert files_in(Path("k")) == beside | {f"song/{n}" for n in ("vocals.flac", "no_vocals.flac", "stemsplit.json")}
    assert "vocals_from" in json.loads(Path("k/song.melody.json").read_text())  # nothing is separated twice
    assert "\n#AUDIO:song/no_vocals.flac\n#VOCALS:song/vocals.flac\n" in Path("k/song.txt").read_text()


def test_its_words_are_those_beside_it(run: Run) -> None:
    assert run("karaoke", "song.wav", "-m", "tiny", "-q").code == 0
    before = Path("karaoke/song.txt").read_text()
    Path("song.lrc").write_text("[ar:She]\n[00:00.00]hello you")
    said = run("karaoke", "song.wav", "-m", "tiny", "--json")
    assert [one["status"] for one in said.objects] == ["skipped", "done"]
    after = Path("karaoke/song.txt").read_text()
    assert before != after
    assert "#ARTIST:She\n" in after
    assert "hello" in after
    assert [one["status"] for one in run("karaoke", "song.wav", "-m", "tiny", "--json").objects] == ["skipped"] * 2
    Path("song.lrc").write_text("no times")
    said = run("karaoke", "song.wav", "-m", "tiny")
    assert (said.code, "song.lrc: no line of it has a time" in said.err) == (1, True)


def test_force_replaces_somebody_elses_file_and_separates_once(run: Run) -> None:
    Path("karaoke").mkdir()
    Path("karaoke/song.txt").write_text("a letter")
    said = run("karaoke", "song.wav", "-m", "tiny")
    assert (said.code, "song.txt is there, and not made of song.wav" in said.err) == (1, True)
    assert Path("karaoke/song.txt").read_text() == "a letter"
    said = run("karaoke", "song.wav", "-m", "tiny", "--force", "--json")
    assert [one["status"] for one in said.objects] == ["done", "done"]
    assert Path("karaoke/song.txt").read_text().startswith("#")
    assert "vocals_from" in json.loads(Path("karaoke/song.melody.json").read_text())


@pytest.mark.parametrize("arguments", [("-",), ("song.wav", "-o", "-")])
def test_pipes_are_refused(run: Run, arguments: tuple[str, ...]) -> None:
    said = run("karaoke", *arguments)
    assert (said.code, "name songs and a folder" in said.err) == (2, True)
