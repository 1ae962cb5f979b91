"""Tags: from every kind of song to every kind of stem, and never at the price of the stem."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import id3

from stemsplit.audio import FORMATS, StemWriter, Tags, blocks, output_rate, probe, read_tags
from stemsplit.errors import OutputError

Sound = Callable[..., np.ndarray]

WANTED = {
    "title": ("Lied – 歌",), "artist": ("Ä", "B"), "album": ("Ålbum",), "tracknumber": ("3/12",), "date": ("1999",),
    "genre": ("Jazz",), "comment": ("so so",), "composer": ("C",), "albumartist": ("D",), "bpm": ("120",),
}  # fmt: skip


def silence(path: Path, format: str, frames: int = 5000) -> Path:
    with StemWriter(path, output_rate(format, 44100), 2, format, FORMATS[format].depths[0]) as writer:
        writer.write(np.zeros((2, frames), np.float32))
    return path


def m4a(path: Path) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def tagged_m4a(path: Path) -> Path:
    file = mutagen.File(m4a(path))
    file.add_tags() if file.tags is None else None
    texts = {"\xa9nam": "title", "\xa9ART": "artist", "\xa9alb": "album", "\xa9day": "date", "\xa9gen": "genre",
             "\xa9cmt": "comment", "\xa9wrt": "composer", "aART": "albumartist"}  # fmt: skip
    for key, name in texts.items():
        file[key] = list(WANTED[name])
    file["trkn"], file["tmpo"] = [(3, 12)], [120]
    file.save()
    return path


def song(folder: Path, kind: str) -> Path:
    """A file with the tags WANTED."""
    path = folder / f"song.{kind}"
    if kind == "m4a":
        return tagged_m4a(path)
    with StemWriter(path, output_rate(kind, 44100), 2, kind, FORMATS[kind].depths[0], tags=Tags(WANTED)) as writer:
        writer.write(np.zeros((2, 5000), np.float32))
    return path


@pytest.mark.parametrize("source", [*FORMATS, "m4a"])
@pytest.mark.parametrize("target", list(FORMATS))
def test_tags_go_from_every_format_to_every_other(tmp_path: Path, source: str, target: str) -> None:
    tags = read_tags(song(tmp_path, source))
    assert dict(tags.fields) == WANTED
    depth = FORMATS[target].depths[0]
    path = tmp_path / f"stem.{target}"
    with StemWriter(path, output_rate(target, 44100), 2, target, depth, tags=tags.for_stem("vocals", "song")) as writer:
        writer.write(np.zeros((2, 5001), np.float32))
    assert dict(read_tags(path).fields) == {**WANTED, "title": ("Lied – 歌 (vocals)",)}
    assert probe(path).frames == 5001
    assert sum(block.shape[1] for block in blocks(path)) == 5001
    assert soundfile.info(path).frames == 5001


def test_other_programs_find_the_tags_where_they_belong(tmp_path: Path) -> None:
    assert mutagen.File(song(tmp_path, "flac"))["artist"] == ["Ä", "B"]
    frames: Any = id3.ID3(song(tmp_path, "mp3"))
    assert frames["TPE1"].text == ["Ä", "B"]
    assert frames["TRCK"].text == ["3/12"]


def test_what_describes_the_mix_stays_behind(tmp_path: Path) -> None:
    path = silence(tmp_path / "a.flac", "flac")
    file = mutagen.File(path)
    for name in ("REPLAYGAIN_TRACK_GAIN", "MUSICBRAINZ_TRACKID", "ENCODER", "ACOUSTID_ID", "CUESHEET"):
        file[name] = "x"
    file["MOOD"], file["title"] = "calm", "T"
    file.save()
    assert dict(read_tags(path).fields) == {"mood": ("calm",), "title": ("T",)}
    mp3 = silence(tmp_path / "a.mp3", "mp3")
    frames = id3.ID3()
    frames.add(id3.TXXX(encoding=3, desc="replaygain_track_gain", text="x"))
    frames.add(id3.TXXX(encoding=3, desc="Mood", text="calm"))
    frames.add(id3.COMM(encoding=3, lang="eng", desc="iTunNORM", text="x"))
    frames.add(id3.TCON(encoding=3, text="(17)"))
    frames.save(mp3)
    assert dict(read_tags(mp3).fields) == {"mood": ("calm",), "genre": ("Rock",)}


def test_titles_say_the_stem() -> None:
    assert Tags().for_stem("vocals", "song") == Tags()
    assert Tags({"artist": ("A",)}).for_stem("drums", "song").fields["title"] == ("song (drums)",)
    assert Tags({"title": ("T", "U")}).for_stem("no_vocals", "x").fields["title"] == ("T (no_vocals)", "U (no_vocals)")


def test_a_song_without_tags_makes_stems_without(tmp_path: Path) -> None:
    found = read_tags(silence(tmp_path / "song.wav", "wav"))
    assert not found.fields
    assert not found.for_stem("vocals", "song").fields


@pytest.mark.parametrize(
    "content", [b"", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", b"fLaC" + b"\xff" * 500, b"OggS" + bytes(300), b"text" * 100]
)
def test_tags_that_cannot_be_read_cost_a_sentence(tmp_path: Path, content: bytes) -> None:
    said: list[str] = []
    (tmp_path / "a.mp3").write_bytes(content)
    assert not read_tags(tmp_path / "a.mp3", said.append).fields
    assert not read_tags(tmp_path / "missing.mp3", said.append).fields
    assert said[-1].startswith("missing.mp3: its tags could not be read (")
    assert all("\n" not in line for line in said)


@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize(
    "fields", [{"bpm": ("fast",)}, {"title": ("a\0b",)}, {"täg=": ("x",)}, {"title": ("",)}, {"": ("x",)},
               {"artist": ()}, {"comment": ("ä" * 300_000,)}, {"tracknumber": ("three",)}, {"date": ("not a date",)}],
)  # fmt: skip
def test_odd_tags_do_no_harm(tmp_path: Path, format: str, fields: dict[str, tuple[str, ...]]) -> None:
    path = tmp_path / f"a.{format}"
    depth = FORMATS[format].depths[0]
    with StemWriter(path, output_rate(format, 44100), 1, format, depth, tags=Tags(fields), warn=print) as writer:
        writer.write(np.zeros((1, 3001), np.float32))
    assert sum(block.shape[1] for block in blocks(path)) == 3001


def test_rf64_has_no_place_for_tags_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    with StemWriter(
        tmp_path / "a.wav", 44100, 1, tags=Tags({"title": ("T",)}), riff_limit=10, warn=said.append
    ) as writer:
        writer.write(np.zeros((1, 100), np.float32))
    assert probe(tmp_path / "a.wav").frames == 100
    assert "tags could not be written" in said[0]


def test_a_disk_that_fills_up_while_tagging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise mutagen.MutagenError(error) from error

    monkeypatch.setattr(mutagen.flac.FLAC, "save", full)
    with (
        pytest.raises(OutputError, match="no space left"),
        StemWriter(tmp_path / "a.flac", 44100, 1, "flac", tags=Tags({"title": ("T",)})) as writer,
    ):
        writer.write(np.zeros((1, 100), np.float32))
    assert not list(tmp_path.iterdir())
