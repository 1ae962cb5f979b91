"""Who speaks, and who is held out."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import write_speech

from songs.voices.people.person import heldout_by_rule, list_people, read_heldout


def row(speaker: int, sex: str, seconds: float, subset: str = "train-clean-100") -> dict[str, str]:
    return {"folder": "librispeech", "speaker": str(speaker), "sex": sex, "subset": subset, "seconds": str(seconds)}


def test_every_tenth_woman_and_man_is_held_out_in_the_order_of_numbers() -> None:
    rows = [row(2 * index, "F", 15.0) for index in reversed(range(40))] + [row(2 * i + 1, "M", 15.0) for i in range(16)]
    rows += [row(9, "F", 400.0), row(11, "F", 15.0, "dev-clean")]
    names = heldout_by_rule(rows)
    assert names == [f"librispeech/{n}" for n in (10, 30, 50, 70, 11, 31)]
    many = [row(index, sex, 15.0) for sex in "FM" for index in range(300)]
    assert len(heldout_by_rule(many)) == 24


def test_the_list_names_each_of_24_once() -> None:
    lines = Path(__file__).parents[4].joinpath("recipes", "heldout_speakers.txt").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert len(names) == 24
    assert read_heldout() == set(names)


def test_everybody_is_on_one_side(tmp_path: Path) -> None:
    people = ["librispeech/1", "librispeech/2", "other/1"]
    folder = write_speech(tmp_path, people, 1)
    train = list_people(folder, {"librispeech/1"}, without=True)
    heldout = list_people(folder, {"librispeech/1"}, without=False)
    assert [person.name for person in train] == people[1:]
    assert [person.name for person in heldout] == people[:1]
    assert [path.name for path in heldout[0].files] == ["01.opus"]
