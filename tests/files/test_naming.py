"""Names: fields that tell equal songs apart, and names that are too long."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from stemsplit.errors import UsageError
from stemsplit.files.naming import Paths, check_template, part_of, shortened, stem_path, track_folder
from stemsplit.files.places import Address, as_address


@pytest.mark.parametrize(
    ("template", "source", "path", "manifest"),
    [
        ("{track}.{suffix}/{stem}.{ext}", "album/x.FLAC", "x.flac/vocals.wav", "x.flac"),
        ("{track}.{source_ext}/{stem}.{ext}", "album/x.mp3", "x.mp3/vocals.wav", "x.mp3"),
        ("{folder}/{track}/{stem}.{ext}", "album/x.mp3", "album/x/vocals.wav", "album/x"),
        ("{folder} {track} {suffix} {stem}.{ext}", "album/x", "album x none vocals.wav", "album/x.none"),
        ("{folder}/{track}/{stem}.{ext}", "/x.mp3", "none/x/vocals.wav", "none/x"),
        ("{track}/{stem}.{ext}", "album/x.mp3", "x/vocals.wav", "x"),
    ],
)
def test_fields_of_the_source(template: str, source: str, path: str, manifest: str) -> None:
    check_template(template)
    assert stem_path(Path("out"), template, "x", "vocals", "wav", source=Path(source)) == Path("out") / path
    assert track_folder(Path("out"), template, "x", Path(source)) == Path("out") / manifest


def test_the_folder_of_a_bare_name_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert stem_path(Path(), "{folder}/{stem}.{ext}", "x", "a", "wav", source=Path("x.wav")) == Path("here/a.wav")


@pytest.mark.parametrize(
    ("value", "part"),
    [("AC/DC", "AC_DC"), ("..", "none"), ("", "none"), ("a\0b\\c", "a_b_c"), (" x. ", "x"), ("été", "été")],
)
def test_a_value_stays_one_part_of_a_path(value: str, part: str) -> None:
    assert part_of(value) == part


@pytest.mark.parametrize("track", ["x" * 251, "é" * 125, "in/" + "日" * 83, "caf\udce9" * 60])
@pytest.mark.parametrize("template", ["{track} - {stem}.{ext}", "{track}/{track}-{track}/{stem}.{ext}"])
def test_long_names_are_shortened_and_stay_different(tmp_path: Path, track: str, template: str) -> None:
    paths = {stem_path(tmp_path, template, name, stem, "flac") for name in (track, track + "y") for stem in "ab"}
    assert len(paths) == 4
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_template_that_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="longer than 255 bytes"):
        check_template("{track}" + "x" * 300 + "{stem}.{ext}")


def test_a_short_name_stays_and_a_long_one_ends_in_its_hash() -> None:
    assert shortened("a/b", 1) == "a/b"
    assert shortened("a/" + "b" * 20, 20) == "a/" + "b" * 20
    one, other = shortened("b" * 21, 20), shortened("b" * 22, 20)
    assert len(os.fsencode(one)) == len(os.fsencode(other)) == 20
    assert one[:11] == other[:11] == "b" * 11
    assert one != other


def test_paths_that_are_kept_as_text_are_paths() -> None:
    given = {"vocals": Path("a/vocals.wav"), "bass": Path("a/bass.wav")}
    kept = Paths(given)
    assert kept == given
    assert list(kept.items()) == list(given.items())
    assert pickle.loads(pickle.dumps(kept)) == given
    assert not Paths({})
    assert kept.get("drums") is None
    address = as_address("s3://bucket/a")
    assert address is not None
    assert type(Paths({"x": address})["x"]) is Address
