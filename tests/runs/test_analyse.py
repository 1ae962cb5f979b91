"""A song becomes an analysis on disk, beside its stems, which are used if they are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from tiny import fake_separator, read_song, write_song

from stemsplit.audio import blocks
from stemsplit.errors import UnknownStemError, UsageError
from stemsplit.files.inputs import find_inputs
from stemsplit.options import AnalyseOptions, SeparateOptions
from stemsplit.runs.analyse import Analysing, check_analyse_options, plan_analyses
from stemsplit.runs.jobs import Outcome, run
from stemsplit.runs.separate import Separating, plan
from stemsplit.separation.separator import Separator

RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")


def write_beat(path: Path, seconds: float = 8.0) -> Path:
    """Noise on every half second, over a chord."""
    time = np.arange(round(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220.0, 261.63, 329.63))
    noise = np.random.default_rng(0).normal(0, 0.3, len(time)) * np.exp(-(time % 0.5) / 0.01)
    return write_song(path, np.stack([0.05 * chord + noise] * 2), RATE, "PCM_16")


def analyse(source: Path, separator: Separator | None = None, **asked: Any) -> Outcome:
    options = AnalyseOptions(output=source.parent / "out", device="cpu", **asked)
    separator = separator or fake_separator(SeparateOptions(device="cpu"))
    check_analyse_options(options, STEMS)
    (outcome,) = run(plan_analyses(find_inputs([source], options.output), options), Analysing(separator, options))
    return outcome


def separate(source: Path, **asked: Any) -> Outcome:
    options = SeparateOptions(output=source.parent / "out", device="cpu", **asked)
    separator = fake_separator(options)
    (outcome,) = run(plan(find_inputs([source], options.output), separator, options), Separating(separator, options))
    return outcome


def test_files_and_manifest(tmp_path: Path) -> None:
    outcome = analyse(write_beat(tmp_path / "song.wav"), click=True)
    assert outcome.status == "done", outcome.message
    folder = tmp_path / "out" / "song"
    assert {path.name for path in folder.iterdir()} == {"analysis.json", "beats.txt", "chords.txt", "click.wav"}
    said = json.loads((folder / "analysis.json").read_text())
    assert said["tempo"]["bpm"] == pytest.approx(120, abs=1)
    assert said["samples"] == soundfile.info(folder / "click.wav").frames == 8 * RATE
    assert set(said["outputs"]) == {"beats", "chords", "click"}
    first, second = (line.split("\t") for line in (folder / "beats.txt").read_text().splitlines()[:2])
    assert float(second[0]) - float(first[0]) == pytest.approx(0.5, abs=0.03)
    start, end, label = (folder / "chords.txt").read_text().splitlines()[0].split("\t")
    assert (start, label.split(":")[0]) == ("0.000", "A"), end


def test_what_is_done_is_not_done_again_and_another_wish_is(tmp_path: Path) -> None:
    song = write_beat(tmp_path / "song.wav", 3)
    assert analyse(song).status == "done"
    assert analyse(song).status == "skipped"
    assert analyse(song, click=True).status == "done"
    assert analyse(song, force=True).status == "done"


def test_stems_that_are_there_are_used(tmp_path: Path) -> None:
    song = write_beat(tmp_path / "song.wav", 3)
    assert separate(song).status == "done"
    calls: list[object] = []
    outcome = analyse(song, fake_separator(SeparateOptions(device="cpu"), on_call=calls.append))
    assert outcome.status == "done", outcome.message
    assert not calls
    assert set((outcome.manifest or {})["stems_from"]) == set(STEMS)
    assert analyse(song, fake_separator(SeparateOptions(device="cpu"), on_call=calls.append), force=True)
    assert calls


@pytest.mark.parametrize(("without", "left"), [(("vocals",), 0.5 + 0.25 - 0.125), (("drums", "bass"), -0.125 + 0.3)])
def test_the_backing_track_is_the_song_behind_the_clicks(tmp_path: Path, without: tuple[str, ...], left: float) -> None:
    song = write_beat(tmp_path / "song.wav", 4)
    outcome = analyse(song, count_in=1, beats_per_bar=3, without=without)
    assert outcome.status == "done", outcome.message
    manifest = outcome.manifest or {}
    lead, backing = manifest["count_in_samples"], read_song(tmp_path / "out" / "song" / "backing.wav")
    assert backing.shape == (2, lead + 4 * RATE)
    assert lead == pytest.approx(1.5 * RATE - manifest["beats"][0] * RATE, rel=0.02)
    assert np.abs(backing[:, :100]).max() > 0.2
    later = lead + RATE
    assert np.abs(backing[:, later:] - left * read_song(song)[:, RATE:]).max() < 1e-3


def test_stems_get_tags_and_stay_what_they_are(tmp_path: Path) -> None:
    song = write_beat(tmp_path / "song.wav", 6)
    for format in ("wav", "flac", "mp3"):
        assert separate(song, format=format).status == "done"
    folder = tmp_path / "out" / "song"
    before = {path.name: np.concatenate(list(blocks(path)), axis=1) for path in folder.glob("bass.*")}
    outcome = analyse(song, tags=True)
    assert outcome.status == "done", outcome.message
    assert mutagen.File(folder / "bass.flac")["bpm"] == ["120"]
    for name in ("bass.wav", "bass.mp3"):
        tags = mutagen.File(folder / name).tags
        assert tags["TBPM"].text == ["120"]
        assert tags["TKEY"].text == [(outcome.manifest or {})["key"]["name"].replace(" minor", "m").split()[0]]
    for path in folder.glob("bass.*"):
        assert np.array_equal(np.concatenate(list(blocks(path)), axis=1), before[path.name])
    for format in ("wav", "flac", "mp3"):
        assert separate(song, format=format).status == "skipped"


def test_without_stems_there_is_nothing_to_tag(tmp_path: Path) -> None:
    outcome = analyse(write_beat(tmp_path / "song.wav", 3), tags=True)
    assert any("no stems of it are there to tag" in text for text in outcome.warnings)


def test_click_tracks_are_not_taken_for_songs(tmp_path: Path) -> None:
    analyse(write_beat(tmp_path / "song.wav", 3), click=True)
    assert [item.path.name for item in find_inputs([tmp_path], tmp_path / "elsewhere")] == ["song.wav"]
    (tmp_path / "analysis.json").write_text("{}")  # somebody else's
    assert [item.path.name for item in find_inputs([tmp_path], tmp_path / "elsewhere")] == ["song.wav"]


def test_refusals() -> None:
    options = AnalyseOptions()
    for wrong in ({"count_in": -1}, {"count_in": 99}, {"beats_per_bar": 0}):
        with pytest.raises(UsageError):
            check_analyse_options(replace(options, **wrong), STEMS)
    with pytest.raises(UnknownStemError, match="guitar"):
        check_analyse_options(replace(options, without=("guitar",)), STEMS)
    with pytest.raises(UsageError, match="speaker1"):
        check_analyse_options(replace(options, without=()), ("speaker1", "speaker2"))


def test_silence_is_no_error(tmp_path: Path) -> None:
    outcome = analyse(write_song(tmp_path / "song.wav", np.zeros((1, 5000)), RATE), click=True, count_in=1)
    assert outcome.status == "done", outcome.message
    assert "no beat in it" in outcome.warnings
    assert (outcome.manifest or {})["tempo"]["confidence"] == 0
