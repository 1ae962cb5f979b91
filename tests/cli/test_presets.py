"""A preset stands for options, and those that are given beside it win."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from said import Run
from tiny import files_in, save_tiny, write_song

from stemsplit.options import PRESETS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny(tmp_path / "tiny")
    write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 8000)), 8000)
    return tmp_path


def made(folder: Path, run: Run, *arguments: str) -> set[str]:
    said = run("separate", folder / "song.wav", "-m", folder / "tiny", "-o", folder / "out", "-q", *arguments)
    assert said.code == 0, said.err
    return {Path(name).name for name in files_in(folder / "out")} - {
        "song",
        "stemsplit.json",
        ".stemsplit",
        "song.json",
    }


STEMS = ("drums", "bass", "other", "vocals")
FILES = {
    "karaoke": {"song (no vocals).mp3"},
    "acapella": {"vocals.wav"},
    "practice-drums": {"song (no drums).wav"},
    "practice-bass": {"song (no bass).wav"},
    "rhythm": {"drums.wav", "bass.wav", "rhythm.wav"},
    "share": {f"{stem}.mp3" for stem in STEMS},
    "archive": {f"{stem}.flac" for stem in STEMS},
}


@pytest.mark.parametrize("name", list(PRESETS))
def test_what_a_preset_makes(name: str, folder: Path, run: Run) -> None:
    assert made(folder, run, "--preset", name) == FILES[name]


def test_options_beside_it_win(folder: Path, run: Run) -> None:
    assert made(folder, run, "--format", "flac", "--preset", "karaoke") == {"song (no vocals).flac"}


def test_a_selection_beside_it_replaces_its_own(folder: Path, run: Run) -> None:
    assert made(folder, run, "--preset", "Rhythm", "--stems", "other") == {"other.wav"}


def test_the_list_and_a_wrong_name(run: Run) -> None:
    said = run("separate", "--preset", "list")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == list(PRESETS)
    said = run("separate", "song.wav", "--preset", "kareoke")
    assert said.code == 2
    assert "did you mean karaoke?" in said.err
