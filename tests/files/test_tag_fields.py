"""Fields of a template that come from tags."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from mutagen.flac import FLAC
from tiny import write_song

from stemsplit.files.naming import check_template, stem_path
from stemsplit.files.tag_fields import MOST_BYTES, tag_fields


def tagged(path: Path, **tags: str) -> Path:
    write_song(path, np.zeros((1, 800)), 8000)
    file = FLAC(path)
    file.update(tags)
    file.save()
    return path


def test_they_are_those_of_the_tags(tmp_path: Path) -> None:
    song = tagged(tmp_path / "x.flac", artist="AC/DC", album="Live: 1991?", title="Théâtre.", tracknumber="3/12")
    assert tag_fields(song) == {"artist": "AC_DC", "album": "Live_ 1991_", "title": "Théâtre", "n": "03"}
    template = "{artist}/{album}/{n} {title} ({stem}).{ext}"
    check_template(template)
    path = stem_path(tmp_path, template, "x", "vocals", "wav", source=song)
    assert path.relative_to(tmp_path) == Path("AC_DC/Live_ 1991_/03 Théâtre (vocals).wav")


@pytest.mark.parametrize("made", [True, False])
def test_without_tags_there_is_a_word_in_their_place(tmp_path: Path, made: bool) -> None:
    song = tmp_path / "a song.flac"
    if made:
        tagged(song, tracknumber="B", artist="  ")
    without = {"artist": "unknown artist", "album": "unknown album", "title": "a song", "n": "00"}
    assert tag_fields(song) == without


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert tag_fields(tmp_path / "pipe.wav")["title"] == "pipe"


@pytest.mark.parametrize("text", ["..", "../../etc", "a\nb\x1b[31m", "日" * 500, "{stem}", "CON\0"])
def test_a_hostile_tag_stays_one_short_name(tmp_path: Path, text: str) -> None:
    song = tagged(tmp_path / "x.flac", title=text, artist=text, album=text)
    for value in tag_fields(song).values():
        assert value.isprintable()
        assert not set(value) & set("/\\")
        assert value not in ("", ".", "..")
        assert len(value.encode()) <= MOST_BYTES
    path = stem_path(tmp_path, "{artist} {album} {title} {stem}.{ext}", "x", "a", "wav", source=song)
    assert path.parent == tmp_path
