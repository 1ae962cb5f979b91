"""`stemsplit mix`: what `separate` would write, from stems that are there, and never by a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from said import Run
from tiny import save_tiny, write_song

from stemsplit.networks.bsmamba import BSMamba


@pytest.fixture
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


def test_a_mix_is_that_of_separate(place: Path, run: Run, no_network: Any) -> None:
    asked = ("song.wav", "--without", "vocals", "--mix", "rhythm=drums+bass")
    assert run("separate", "song.wav", "-m", "tiny", "--bit-depth", "32f").code == 0
    no_network()
    said = run("mix", *asked, "--bit-depth", "24")
    assert said.code == 0, said.err
    assert "from stems that were there" in said.err
    mixed = {path.name: path.read_bytes() for path in place.glob("separated/song (*).wav")}
    assert mixed.keys() == {"song (no vocals).wav", "song (rhythm).wav"}
    assert "done already" in run("separate", *asked, "-m", "tiny", "--bit-depth", "24").err
    assert "done already" in run("mix", *asked, "--bit-depth", "24").err
    assert "done already" in run("separate", "song.wav", "-m", "tiny", "--bit-depth", "32f").err


def test_a_mix_has_the_bytes_of_a_run(place: Path, run: Run) -> None:
    assert run("separate", "song.wav", "-m", "tiny", "-o", "fresh", "--without", "drums", "-f", "flac").code == 0
    assert run("separate", "song.wav", "-m", "tiny", "--bit-depth", "32f").code == 0
    assert run("mix", "song.wav", "--without", "drums", "-f", "flac").code == 0
    name = "song (no drums).flac"
    assert (place / "separated" / name).read_bytes() == (place / "fresh" / name).read_bytes()


def test_the_folder_of_the_stems_will_do(place: Path, run: Run, no_network: Any) -> None:
    assert run("separate", "song.wav", "-m", "tiny", "--exact-sum").code == 0
    no_network()
    said = run("mix", "separated/song", "--mix", "rhythm=drums+bass", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["outputs"] == {"rhythm": "separated/song/rhythm.wav"}
    (place / "song.wav").rename(place / "moved.wav")
    gone = run("mix", "separated/song", "--mix", "rest=drums+other")
    assert (gone.code, "its song is not where it was" in gone.err) == (2, True)


def test_without_stems_it_says_what_makes_them(place: Path, run: Run, no_network: Any) -> None:
    said = run("mix", "song.wav", "--without", "vocals")
    assert said.code != 0
    assert "no stems in separated/song: `stemsplit separate` makes them" in said.err
    assert run("separate", "song.wav", "-m", "tiny", "--stems", "drums").code == 0
    no_network()
    said = run("mix", "song.wav", "--without", "vocals")
    assert said.code == 1
    assert "bass, other is not there in separated/song" in said.err
    assert not list(place.glob("separated/*.wav"))


def test_what_cannot_be_mixed_is_refused(place: Path, run: Run) -> None:
    assert run("separate", "song.wav", "-m", "tiny").code == 0
    for arguments in [("song.wav",), ("-", "--without", "vocals"), ("song.wav", "--without", "piano")]:
        assert run("mix", *arguments).code == 2


def test_it_is_told_why_stems_will_not_do(place: Path, run: Run) -> None:
    assert run("separate", "song.wav", "-m", "tiny", "-f", "ogg").code == 0
    said = run("mix", "song.wav", "--without", "vocals")
    assert (said.code, "song.wav: the stems in separated/song are lossy: " in said.err) == (1, True)
