"""Tags: from every kind of song to every kind of stem, and never at the price of the stem."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import id3

from stemsplit.audio import FORMATS, StemWriter, Tags, blocks, output_rate, probe, read_tags
from stemsplit.audio.tagging.covers import LARGEST_BYTES, Cover
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
    if kind == "m4a of others":
        return tagged_m4a(path.with_suffix(".m4a"))
    with StemWriter(path, output_rate(kind, 44100), 2, kind, FORMATS[kind].depths[0], tags=Tags(WANTED)) as writer:
        writer.write(np.zeros((2, 5000), np.float32))
    return path


@pytest.mark.parametrize("source", [*FORMATS, "m4a of others"])
@pytest.mark.parametrize("target", list(FORMATS))
def test_tags_go_from_every_format_to_every_other(tmp_path: Path, source: str, target: str) -> None:
    tags = read_tags(song(tmp_path, source))
    assert dict(tags.fields) == WANTED
    depth = FORMATS[target].depths[0]
    path = tmp_path / f"stem.{target}"
    with StemWriter(path, output_rate(target, 44100), 2, target, depth, tags=tags.for_stem("vocals", "song")) as writer:
        writer.write(np.zeros((2, 5001), np.float32))
    assert dict(read_tags(path).fields) == {**WANTED, "title": ("Lied – 歌 (vocals)",)}
    assert sum(block.shape[1] for block in blocks(path)) == 5001
    if target not in ("m4a", "alac"):
        assert probe(path).frames == 5001
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


# --- Containers that mutagen does not read, and what stands beside ID3.

SOUGHT = {name: WANTED[name] for name in ("title", "album", "date", "genre", "comment", "tracknumber")}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def muxed(path: Path, codec: str, **metadata: str) -> Path:
    """A file that FFmpeg writes, with metadata under its own names."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=48000, layout="stereo")
        stream.bit_rate = 128_000
        out.metadata.update(metadata)
        size = stream.codec_context.frame_size or 1024
        for start in range(0, 9600, size):
            form = stream.codec_context.format.name
            samples = np.zeros((2, size), np.float32 if form.startswith("flt") else np.int16)
            if not form.endswith("p"):
                samples = samples.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format=form, layout="stereo")
            frame.sample_rate, frame.pts = 48000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "lost"),
    [
        ("a.wav", "pcm_s16le", ()),
        ("a.mka", "flac", ()),
        ("a.mkv", "aac", ()),
        ("a.webm", "libopus", ()),
        ("a.wma", "wmav2", ()),
        ("a.avi", "mp2", ("album",)),
        ("a.flv", "aac", ()),
        ("a.caf", "pcm_s16be", ()),
        ("a.au", "pcm_s16be", ("date", "comment")),
        ("a.aiff", "pcm_s16be", ("album", "date", "genre", "tracknumber")),
        ("a.mov", "aac", ("tracknumber",)),
    ],
)
def test_texts_are_kept_of_every_container(tmp_path: Path, name: str, codec: str, lost: tuple[str, ...]) -> None:
    """`lost` is what FFmpeg's own writer leaves out."""
    said: list[str] = []
    given = {key: values[0] for key, values in SOUGHT.items() if key != "tracknumber"}
    found = read_tags(muxed(tmp_path / name, codec, track="3/12", artist="Ä", **given), said.append)
    assert {key: found.fields.get(key) for key in SOUGHT if key not in lost} == {
        key: values for key, values in SOUGHT.items() if key not in lost
    }
    assert set(found.fields) <= {*SOUGHT, "artist"}, "nothing technical"
    if name != "a.aiff":
        assert found.fields["artist"] == ("Ä",)
    assert not said


def test_list_info_stands_beside_id3_and_may_be_older_than_unicode(tmp_path: Path) -> None:
    path = muxed(tmp_path / "a.wav", "pcm_s16le", title="Söng", artist="Ä!", album="B")
    old = path.read_bytes().replace("Söng\0".encode(), "Söng\0\0".encode("cp1252")).replace(b"\xc3\x84!\0", b"\xc4!?\0")
    path.write_bytes(old)
    assert read_tags(path).fields == {"title": ("Söng",), "artist": ("Ä!?",), "album": ("B",)}
    file = mutagen.File(path)
    file.add_tags()
    file.tags.add(id3.TIT2(encoding=3, text="from ID3"))
    file.save()
    assert read_tags(path).fields == {"title": ("from ID3",), "artist": ("Ä!?",), "album": ("B",)}


def test_tags_are_found_before_and_behind_files_that_should_have_none(tmp_path: Path) -> None:
    wav = muxed(tmp_path / "a.wav", "pcm_s16le", artist="A")
    frames = id3.ID3()
    frames.add(id3.TIT2(encoding=3, text="T"))
    frames.save(wav)
    assert wav.read_bytes().startswith(b"ID3")
    assert read_tags(wav).fields == {"title": ("T",), "artist": ("A",)}
    mp3 = silence(tmp_path / "a.mp3", "mp3")
    behind: Any = mutagen.apev2.APEv2()
    behind["Title"], behind["Year"] = "T", "1999"
    behind.save(mp3)
    assert read_tags(mp3).fields == {"title": ("T",), "date": ("1999",)}


def test_the_name_of_a_sound_track_is_not_the_title(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mka"), "w") as out:
        stream = out.add_stream("flac", rate=48000, layout="stereo")
        stream.metadata.update(title="Commentary", language="fre", artist="A")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 4608), np.int16), format="s16", layout="stereo")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert read_tags(tmp_path / "a.mka").fields == {"artist": ("A",)}


def asf_picture(data: bytes) -> bytes:
    head = bytes([3]) + len(data).to_bytes(4, "little")
    return head + "image/png\0".encode("utf-16-le") + "front\0".encode("utf-16-le") + data


def covered(folder: Path, kind: str) -> Path:
    """A file with PNG as its cover, behind another picture where there can be several."""
    if kind in FORMATS:
        path = folder / f"song.{kind}"
        depth = FORMATS[kind].depths[0]
        with StemWriter(path, output_rate(kind, 44100), 1, kind, depth, tags=Tags(cover=Cover(PNG, "image/png"))) as w:
            w.write(np.zeros((1, 3000), np.float32))
        return path
    if kind == "m4a":
        file = mutagen.File(m4a(folder / "song.m4a"))
        file["covr"] = [mutagen.mp4.MP4Cover(PNG, 14)]
    elif kind == "wma":
        file = mutagen.File(muxed(folder / "song.wma", "wmav2"))
        file["WM/Picture"] = [mutagen.asf.ASFByteArrayAttribute(data=asf_picture(PNG))]
    elif kind == "ape":
        file = mutagen.apev2.APEv2File(silence(folder / "song.mp3", "mp3"))
        file.add_tags()
        file["Cover Art (Front)"] = mutagen.apev2.APEValue(b"cover.png\0" + PNG, mutagen.apev2.BINARY)
    elif kind == "old ogg":
        file = mutagen.File(silence(folder / "song.ogg", "ogg"))
        file["coverart"] = base64.b64encode(PNG).decode()
    else:
        file = mutagen.File(silence(folder / "song.mp3", "mp3"))
        file.add_tags()
        for number, data in ((4, b"\xff\xd8\xff back"), (3, PNG)):
            file.tags.add(id3.APIC(encoding=3, mime="image/?", type=number, desc=str(number), data=data))
    file.save()
    return Path(file.filename)


@pytest.mark.parametrize("kind", [*FORMATS, "wma", "ape", "old ogg", "several"])
def test_the_cover_is_kept(tmp_path: Path, kind: str) -> None:
    path = covered(tmp_path, kind)
    found = read_tags(path)
    assert found == Tags({}, Cover(PNG, "image/png"))
    assert found.for_stem("vocals", "song") == found, "no title is made up for a picture"
    assert read_tags(path, cover=False) == Tags({})
    assert sum(block.shape[1] for block in blocks(path))


def test_a_cover_attached_to_matroska_is_kept(tmp_path: Path) -> None:
    """FFmpeg's writer cannot attach one through PyAV, so the elements are written here (RFC 9559, section 5.1.6)."""
    path = muxed(tmp_path / "a.mka", "flac", title="T")

    def element(name: str, data: bytes) -> bytes:
        return bytes.fromhex(name) + (len(data) | 1 << 56).to_bytes(8, "big") + data

    file = element("466E", b"cover.png") + element("4660", b"image/png") + element("465C", PNG) + element("46AE", b"\1")
    data = path.read_bytes()
    at = data.index(b"\x18\x53\x80\x67")
    attached = data[: at + 4] + (len(data) | 1 << 56).to_bytes(8, "big") + element("1941A469", element("61A7", file))
    path.write_bytes(attached + data[at + 12 :])
    assert read_tags(path) == Tags({"title": ("T",)}, Cover(PNG, "image/png"))


def test_covers_that_are_damaged_too_large_or_no_pictures_cost_at_most_a_sentence(tmp_path: Path) -> None:
    said: list[str] = []
    ogg = silence(tmp_path / "a.ogg", "ogg")
    file = mutagen.File(ogg)
    file["title"], file["metadata_block_picture"] = "T", "AAAA"
    file.save()
    assert read_tags(ogg, said.append) == Tags({"title": ("T",)})
    assert "its cover art could not be read (" in said[-1]
    for data, words in ((b"http://x/y.png", None), (PNG + bytes(LARGEST_BYTES), "more than 15 MiB")):
        mp3 = silence(tmp_path / "a.mp3", "mp3")
        frames = id3.ID3()
        frames.add(id3.APIC(encoding=0, mime="image/png", type=3, desc="", data=data))
        frames.save(mp3)
        said.clear()
        assert read_tags(mp3, said.append) == Tags({})
        assert words in said[0] if words else not said
