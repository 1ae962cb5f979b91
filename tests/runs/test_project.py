"""A project of REAPER names the stems that lie beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import STEMS, fake_separator, write_song

from stemsplit.files.inputs import find_inputs
from stemsplit.options import SeparateOptions
from stemsplit.runs.jobs import Outcome, run
from stemsplit.runs.project import Track, reaper_project
from stemsplit.runs.separate import Separating, plan

RATE = 44100


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_song(Path("my song.wav"), np.random.default_rng(0).normal(0, 0.1, (2, 20001)), RATE, "PCM_16")


def separate(song: Path, **asked: Any) -> Outcome:
    options = SeparateOptions(output=Path("out"), device="cpu", daw="reaper", **asked)
    separator = fake_separator(options)
    (outcome,) = run(plan(find_inputs([song], options.output), separator, options), Separating(separator, options))
    assert outcome.status != "failed", outcome.message
    return outcome


def tree(text: str) -> list[Any]:
    """Blocks as lists: [words, …, blocks]."""
    stack: list[list[Any]] = [[]]
    for line in map(str.strip, text.splitlines()):
        if line == ">":
            block = stack.pop()
            stack[-1].append(block)
        elif line.startswith("<"):
            stack.append([line[1:]])
        else:
            stack[-1].append(line)
    ((project,),) = stack
    return project


def value(block: list[Any], name: str) -> str:
    (found,) = [line for line in block if isinstance(line, str) and line.startswith(f"{name} ")]
    return re.sub(r"^([\"'`])(.*)\1$", r"\2", found.removeprefix(f"{name} "))


def blocks(block: list[Any], name: str) -> list[list[Any]]:
    return [inner for inner in block if isinstance(inner, list) and inner[0].split()[0] == name]


def test_every_stem_has_a_track_and_its_file_is_there(song: Path) -> None:
    Path("melody").mkdir()
    Path("melody/my song.mid").write_bytes(b"MThd")
    separate(song, format="flac")
    path = Path("out/my song/my song.rpp")
    tracks = blocks(tree(path.read_text()), "TRACK")
    assert [value(track, "NAME") for track in tracks] == [*STEMS, "melody"]
    for track in tracks:
        (item,) = blocks(track, "ITEM")
        (source,) = blocks(item, "SOURCE")
        file = Path(value(source, "FILE"))
        assert not file.is_absolute()
        assert (path.parent / file).is_file()
        assert float(value(item, "LENGTH")) == pytest.approx(20001 / RATE)
        assert source[0] == ("SOURCE MIDI" if file.suffix == ".mid" else "SOURCE FLAC")
    assert separate(song, format="flac").status == "skipped"


def test_the_tempo_is_that_of_the_analysis(song: Path) -> None:
    outcome = separate(song)
    path = Path("out/my song/my song.rpp")
    assert "TEMPO" not in path.read_text()
    said = {"format": 1, "input": (outcome.manifest or {})["input"], "tempo": {"bpm": 97.5, "confidence": 0.9}}
    Path("out/my song/analysis.json").write_text(json.dumps(said))
    separate(song, force=True)
    assert value(tree(path.read_text()), "TEMPO") == "97.5 4 4"


def test_a_project_that_was_changed_stays(song: Path) -> None:
    separate(song)
    path = Path("out/my song/my song.rpp")
    path.write_text("my work")
    outcome = separate(song, force=True)
    assert path.read_text() == "my work"
    assert any("left as it is" in text for text in outcome.warnings)


def test_names_are_quoted_by_what_they_do_not_hold() -> None:
    text = reaper_project([Track('a "b"', "it's.wav", 1.0)], RATE, None)
    assert "NAME 'a \"b\"'" in text
    assert 'FILE "it\'s.wav"' in text
