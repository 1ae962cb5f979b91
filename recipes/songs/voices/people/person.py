"""Who speaks: a folder of recordings for every person, and a list of those who are held out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

HELDOUT = Path(__file__).parents[3] / "heldout_speakers.txt"
"""The list of the people whom nothing is trained on, by `heldout_by_rule`."""
SHORT_SECONDS = 30.0
"""People with less than this may be held out: of the others there is too much to do without."""
EVERY, FROM, MOST = 10, 5, 12
"""Held out is every tenth woman and every tenth man from index 5 on, twelve of each."""


class Person(NamedTuple):
    """Somebody who was recorded speaking."""

    name: str
    """SOURCE/SPEAKER: the two folders that the recordings are in."""
    files: tuple[Path, ...]


def list_people(folder: Path, names: Container[str], *, without: bool) -> tuple[Person, ...]:
    """Return the people in `folder`/SOURCE/SPEAKER/*.opus who are among `names`, or `without` those."""
    people: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/*/*.opus")):
        people.setdefault("/".join(path.parts[-3:-1]), []).append(path)
    return tuple(Person(name, tuple(files)) for name, files in people.items() if (name in names) != without)


def read_heldout(path: Path = HELDOUT) -> frozenset[str]:
    """Return the names SOURCE/SPEAKER in a list, one a line; what follows a # is a remark."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)


def heldout_by_rule(rows: Iterable[Mapping[str, str]], subset: str = "train-clean-100") -> list[str]:
    """Return the names of those held out, the women first.

    Args:
        rows: The columns folder, speaker, sex (F or M), subset and seconds of every person.
        subset: The part of LibriSpeech that they are taken from.
    """
    short = [row for row in rows if row["subset"] == subset and float(row["seconds"]) < SHORT_SECONDS]
    chosen = []
    for sex in "FM":
        people = sorted((row for row in short if row["sex"] == sex), key=lambda row: int(row["speaker"]))
        chosen += [f"{row['folder']}/{row['speaker']}" for row in people[FROM::EVERY][:MOST]]
    return chosen
