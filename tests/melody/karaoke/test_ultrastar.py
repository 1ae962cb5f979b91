"""A song for UltraStar: notes where they are sung, words where they belong, and text that such programs can read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stemsplit.audio import Tags
from stemsplit.errors import UsageError
from stemsplit.melody.karaoke.lyrics import Line, Lyrics, lyrics_beside, parse_lyrics, read_lyrics
from stemsplit.melody.karaoke.song import heading_for, syllables_for
from stemsplit.melody.karaoke.ultrastar import Heading, Syllable, ultrastar_text, with_words, without_words
from stemsplit.melody.notes import Note

HEADING = Heading("A song", "Somebody", "song.wav")
NOTE = re.compile(r"([:F]) (\d+) (\d+) (-?\d+) (.*)")


def note(onset: float, duration: float = 0.4, midi: int = 60) -> Note:
    return Note(onset, duration, midi, 0.0, 261.6)


def read(text: str) -> tuple[dict[str, str], list[tuple[str, float, float, int, str]], list[float]]:
    """What a program that sings hears of a text: the heading, notes with times in seconds, ends of lines."""
    rows = text.splitlines()
    heading = dict(row[1:].split(":", 1) for row in rows if row.startswith("#"))
    unit, gap = 60 / float(heading["BPM"]) / 4, int(heading["GAP"]) / 1000
    found = [match for row in rows if (match := NOTE.fullmatch(row))]
    notes = [(m[1], gap + int(m[2]) * unit, int(m[3]) * unit, int(m[4]), m[5]) for m in found]
    ends = [gap + int(row[2:]) * unit for row in rows if row.startswith("- ")]
    assert rows[-1] == "E"
    assert len(heading) + len(notes) + len(ends) + 1 == len(rows)
    return heading, notes, ends


@pytest.mark.parametrize("bpm", [40.0, 90.0, 120.0, 137.31, 320.0])
def test_notes_are_where_they_were_sung(bpm: float) -> None:
    sung = [note(1.234 + 0.377 * number, 0.3, 48 + number) for number in range(40)]
    heading, notes, _ = read(ultrastar_text(Heading("t", "a", "f", bpm=bpm), without_words(sung)))
    assert float(heading["BPM"]) / bpm in (1, 2, 4, 8)
    for one, (kind, start, length, pitch, _) in zip(sung, notes, strict=True):
        assert (kind, pitch) == (":", one.midi - 60)
        assert abs(start - one.onset) <= 0.026
        assert abs(start + length - one.end) <= 0.026


def test_no_two_notes_overlap_and_none_is_empty() -> None:
    sung = [note(0.01 * number, 0.01) for number in range(50)]
    _, notes, _ = read(ultrastar_text(HEADING, without_words(sung)))
    assert all(length > 0 for _, _, length, _, _ in notes)
    ends = [start + length for _, start, length, _, _ in notes]
    assert all(end <= start + 1e-6 for end, (_, start, *_) in zip(ends, notes[1:], strict=False))


def test_no_notes_are_a_song_too() -> None:
    heading, notes, ends = read(ultrastar_text(HEADING, without_words([])))
    assert (heading["TITLE"], heading["GAP"], notes, ends) == ("A song", "0", [], [])


def test_without_words_it_is_la_and_ties() -> None:
    sung = [note(0.0), note(0.41), note(1.0), note(3.0), note(3.5)]
    assert [one.text for one in without_words(sung)] == ["la", "~", "la", "la", "la"]
    assert [one.word for one in without_words(sung)] == [False, True, True, True, True]
    assert [one.last for one in without_words(sung)] == [False, False, True, False, True]
    long = without_words([note(0.5 * number) for number in range(40)])
    assert [number for number, one in enumerate(long) if one.last] == [15, 31, 39]


def test_words_are_shared_among_the_notes_of_their_line() -> None:
    sung = [note(number, 0.9) for number in range(10)]
    lines = [Line(0.0, ("one", "two")), Line(4.1, ("three",)), Line(7.0, ("a", "b", "c", "d"))]
    found = with_words(sung, lines)
    assert [one.text for one in found] == ["one", "~", "two", "~", "three", "~", "~", "a b", "c", "d"]
    assert [one.word for one in found] == [False, True, False, True, False, False, True, True, True, True]
    assert [number for number, one in enumerate(found) if one.last] == [3, 6, 9]
    _, _, ends = read(ultrastar_text(HEADING, found))
    assert [round(end) for end in ends] == [4, 7]


def test_every_word_is_there_once_in_order() -> None:
    words = tuple(f"w{number}" for number in range(7))
    for count in range(1, 20):
        found = with_words([note(0.5 * number) for number in range(count)], [Line(0.0, words)])
        assert " ".join(one.text for one in found if one.text != "~").split() == list(words)
        assert len(found) == count


def test_words_without_notes_are_shown_and_pauses_have_none() -> None:
    lines = [Line(1.0, ("spoken", "words")), Line(5.0, ("sung",)), Line(8.0, ())]
    found = with_words([note(0.2), note(5.0), note(9.0)], lines)
    assert [(one.text, one.midi) for one in found] == [("la", 60), ("spoken words", None), ("sung", 60), ("la", 60)]
    _, notes, _ = read(ultrastar_text(HEADING, found))
    assert [kind for kind, *_ in notes] == [":", "F", ":", ":"]


def test_words_do_not_stretch_over_what_follows_a_line() -> None:
    found = with_words([note(number) for number in range(30)], [Line(2.0, ("last", "words"))])
    assert [one.text for one in found if one.text not in ("~", "la")] == ["last", "words"]
    assert [one.text for one in found[:2]] == ["la", "la"]
    assert [one.text for one in found[2:12]] == ["last", *"~~~~", "words", *"~~~~"]
    assert {one.text for one in found[12:]} == {"la"}
    shown = with_words([note(40.0)], [Line(2.0, ("spoken",))])
    assert [(one.text, one.start, one.midi) for one in shown] == [("spoken", 2.0, None), ("la", 40.0, 60)]


def test_words_of_a_part_of_a_song_begin_with_it() -> None:
    lyrics = Lyrics((Line(10.0, ("before",)), Line(61.0, ("after",))))
    assert [one.text for one in syllables_for([note(1.0)], lyrics, start=60.0)] == ["after"]


def test_lrc_files_are_read() -> None:
    found = parse_lyrics(
        "\n[ti:Tune]\n[ar: Somebody ]\n[offset:+500]\n[00:12.50]  first <00:12.9>line\n"
        "[00:20]third\n[00:16.5][01:02.25]again\nno time\n[00:30.00]\n[99]\n"
    )
    assert found.about == {"ti": "Tune", "ar": "Somebody", "offset": "+500"}
    assert found.lines == (
        Line(12.0, ("first", "line")),
        Line(16.0, ("again",)),
        Line(19.5, ("third",)),
        Line(29.5, ()),
        Line(61.75, ("again",)),
    )


def test_what_is_no_lrc_file_is_refused(tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    assert lyrics_beside(song) is None
    path = tmp_path / "song.lrc"
    path.write_text("just words")
    assert lyrics_beside(song) == path
    with pytest.raises(UsageError, match=r"no line of it has a time, as in \[01:23.45\]"):
        read_lyrics(path)
    path.write_bytes(b"[00:01.00]caf\xe9")
    assert read_lyrics(path).lines == (Line(1.0, ("café",)),)
    path.write_bytes(b"x" * (2 << 20))
    with pytest.raises(UsageError, match="too large"):
        read_lyrics(path)


def test_the_heading_names_the_song_and_what_plays(tmp_path: Path) -> None:
    target, song = tmp_path / "melody" / "song.txt", tmp_path / "song.mp3"
    tags = Tags({"title": ("A\nTune",), "artist": ("Me",)})
    sound = {"instrumental": tmp_path / "sep" / "song (no vocals).mp3", "vocals": tmp_path / "sep" / "vocals.wav"}
    made = heading_for(target, song, "song", tags, Lyrics(), sound, 100.0)
    heading, _, _ = read(ultrastar_text(made, [Syllable(1.0, 2.0, 60, "la")]))
    assert heading["TITLE"] == "A Tune"
    assert heading["ARTIST"] == "Me"
    assert heading["MP3"] == heading["AUDIO"] == "../sep/song (no vocals).mp3"
    assert heading["VOCALS"] == "../sep/vocals.wav"
    alone = heading_for(target, song, "in/song", Tags(), Lyrics(about={"ar": "She"}), {}, 100.0)
    assert (alone.title, alone.artist, alone.audio, alone.vocals) == ("song", "She", "../song.mp3", None)
    assert heading_for(target, None, "stdin", Tags(), Lyrics(), {}, 100.0).audio == "stdin.wav"
