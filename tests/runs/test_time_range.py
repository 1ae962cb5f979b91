"""Only a part of a song is separated; what is there of another part is no use for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import GAINS, fake_separator, read_song, save_tiny, write_song

from stemsplit.cli import main
from stemsplit.files.inputs import find_inputs
from stemsplit.options import SeparateOptions, TimeRange
from stemsplit.runs.jobs import Outcome, run
from stemsplit.runs.separate import Separating, plan

RATE = 44100


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 2 * RATE)), RATE, "PCM_16")


def separate(song: Path, calls: list[object], **asked: Any) -> Outcome:
    options = SeparateOptions(output=song.parent / "out", device="cpu", bit_depth="32f", **asked)
    separator = fake_separator(options, on_call=calls.append)
    (outcome,) = run(plan(find_inputs([song], options.output), separator, options), Separating(separator, options))
    return outcome


def test_stems_are_those_of_the_part(song: Path) -> None:
    calls: list[object] = []
    part = TimeRange(0.5, 1.25)
    outcome = separate(song, calls, time_range=part)
    assert outcome.status == "done", outcome.message
    manifest = json.loads((song.parent / "out" / "song" / "stemsplit.json").read_text())
    assert (manifest["samples"], manifest["settings"]["time_range"]) == (33075, [0.5, 1.25])
    drums = read_song(song.parent / "out" / "song" / "drums.wav")
    assert np.abs(drums - GAINS[0] * read_song(song)[:, RATE // 2 : RATE // 2 + 33075]).max() < 1e-6
    assert separate(song, calls, time_range=part).status == "skipped"


def test_another_part_is_separated_anew_and_the_same_is_derived_from(song: Path) -> None:
    calls: list[object] = []
    assert separate(song, calls).status == "done"
    calls.clear()
    assert separate(song, calls, time_range=TimeRange(0.5, 1.0), without="vocals").status == "done"
    assert calls
    assert separate(song, calls, time_range=TimeRange(0.5, 1.0)).status == "done"
    calls.clear()
    outcome = separate(song, calls, time_range=TimeRange(0.5, 1.0), mix=("low=drums+bass",), stems="low")
    assert outcome.status == "done", outcome.message
    assert not calls
    assert read_song(song.parent / "out" / "song" / "low.wav").shape == (2, RATE // 2)


def test_beyond_the_end_is_that_songs_failure(song: Path) -> None:
    outcome = separate(song, [], time_range=TimeRange(60.0))
    assert outcome.status == "failed"
    assert "nothing is in that range: the file lasts 2.00 s" in outcome.message


def test_the_commands_take_a_part_also_one_with_no_start(song: Path, tmp_path: Path) -> None:
    model, out = save_tiny(tmp_path / "tiny"), tmp_path / "out"
    common = [str(song), "-m", str(model), "-o", str(out), "-q", "--time-range"]
    assert main(["separate", *common, "-0:01"]) == 0
    assert read_song(out / "song" / "bass.wav").shape == (2, RATE)
    assert main(["separate", *common, "2-1"]) == 2
