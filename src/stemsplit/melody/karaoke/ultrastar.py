"""Notes and words → a song for UltraStar and its kin: text, with a line for every note.

    #BPM:480                how fast beats go: a fourth of one of these is the unit of all times below
    #GAP:1520               milliseconds before the first of them
    : 0 12 4 word           a note: its start and its length, its pitch in semitones above C4, and what is sung on it
    - 40                    the end of a line of words

`~` goes on with the syllable before it. A space at the end of a text ends a word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stemsplit.machine.disk import write_whole
from stemsplit.melody.karaoke.lyrics import Line
from stemsplit.melody.notes import Note

C4 = 60
UNITS = 4  # of a beat
FINEST_BPM = 300.0
"""Beats are made shorter until there are so many: a unit is 50 ms or less then."""
PAUSE = 0.6  # s without a note that end a line where there are no words
LONGEST_LINE = 16  # notes
TIED = 0.05  # s between two notes that are sung on one syllable
EARLY = 0.3  # s that a note may begin before the time of its line of words
LINE_SECONDS = 10.0
"""A line of words is over then, whenever the next one begins: an instrumental may follow, or the end."""
WORD_SECONDS = 0.3  # that a word is shown where no note was found for it
HELD, SUNG = "~", "la"


@dataclass(frozen=True)
class Syllable:
    """What is sung on a note; without a pitch it is only shown. Times in seconds; `word`: it ends one."""

    start: float
    end: float
    midi: int | None
    text: str
    word: bool = False
    last: bool = False  # of a line


@dataclass(frozen=True)
class Heading:
    """What stands above the notes: of the song, and the files that play with it, as paths from the text."""

    title: str
    artist: str
    audio: str
    vocals: str | None = None
    bpm: float = 120.0


def write_ultrastar(path: Path, heading: Heading, syllables: Sequence[Syllable]) -> None:
    """Write a song. Raises: OutputError."""
    write_whole(path, ultrastar_text(heading, syllables).encode("utf-8", "replace"))


def ultrastar_text(heading: Heading, syllables: Sequence[Syllable]) -> str:
    """Return a song as text. No two notes overlap, and each has a unit at least."""
    bpm = heading.bpm
    while bpm < FINEST_BPM:
        bpm *= 2
    unit = 60 / bpm / UNITS
    gap = round(1000 * syllables[0].start) if syllables else 0
    fields = {"VERSION": "1.1.0", "TITLE": heading.title, "ARTIST": heading.artist, "MP3": heading.audio,
              "AUDIO": heading.audio, "VOCALS": heading.vocals, "BPM": f"{bpm:.6g}", "GAP": f"{gap}"}  # fmt: skip
    lines = [f"#{name}:{' '.join(value.split())}" for name, value in fields.items() if value is not None]
    free = 0  # the first unit without a note
    for number, one in enumerate(syllables):
        start = max(free, round((one.start - gap / 1000) / unit))
        free = max(start + 1, round((one.end - gap / 1000) / unit))
        kind, pitch = ("F", 0) if one.midi is None else (":", one.midi - C4)
        lines.append(f"{kind} {start} {free - start} {pitch} {one.text}{' ' if one.word else ''}")
        if one.last and number < len(syllables) - 1:
            lines.append(f"- {free}")
    return "\n".join([*lines, "E", ""])


def without_words(notes: Sequence[Note]) -> list[Syllable]:
    """Return syllables for notes whose words nobody knows: "la", and `~` where two notes are tied."""
    found: list[Syllable] = []
    length = 0
    for note in notes:
        pause = note.onset - found[-1].end if found else 0.0
        if found and (pause >= PAUSE or length >= LONGEST_LINE):
            found[-1] = replace(found[-1], last=True)
            length = 0
        tied = bool(length) and pause < TIED
        if found and not tied:
            found[-1] = replace(found[-1], word=True)
        found.append(Syllable(note.onset, note.end, note.midi, HELD if tied else SUNG, word=note is notes[-1]))
        length += 1
    return _closed(found)


def with_words(notes: Sequence[Note], lines: Sequence[Line]) -> list[Syllable]:
    """Return syllables with the words of a song, of which only the times of lines are known.

    The notes of a line share its words evenly, each word on one note and `~` on those that follow it, or several words
    on a note. Words of a line without notes are shown for a moment, without a pitch. Notes before the first line, long
    after a line has begun, and in a line without words, have none.
    """
    found: list[Syllable] = []
    starts = [0.0, *(line.start for line in lines)]
    for start, end, line in zip(starts, [*starts[1:], math.inf], [Line(0.0, ()), *lines], strict=True):
        own = [note for note in notes if start - EARLY <= note.onset < end - EARLY]
        over = start + LINE_SECONDS if line.words else -math.inf
        if sung := [note for note in own if note.onset < over]:
            found += _line(sung, line.words)
        elif line.words:
            found += _shown(line, min([end, *(note.onset for note in own[:1])]), found[-1].end if found else 0.0)
        found += without_words(own[len(sung) :])
    return found


def _line(notes: Sequence[Note], words: Sequence[str]) -> list[Syllable]:
    """Return the syllables of a line that has notes and words."""
    texts = [""] * len(notes)
    for number, word in enumerate(words):
        at = number * len(notes) // len(words)
        texts[at] = f"{texts[at]} {word}".strip()
    texts = [text or HELD for text in texts]
    ends = [text != HELD for text in texts[1:]] + [True]
    found = [
        Syllable(note.onset, note.end, note.midi, text, word=end)
        for note, text, end in zip(notes, texts, ends, strict=True)
    ]
    return _closed(found)


def _shown(line: Line, end: float, free: float) -> list[Syllable]:
    """Return the words of a line on which no note was found."""
    start = max(line.start, free)
    end = min(end, start + WORD_SECONDS * len(line.words))
    if end <= start:
        return []
    return _closed([Syllable(start, end, None, " ".join(line.words), word=True)])


def _closed(found: Sequence[Syllable]) -> list[Syllable]:
    """Return syllables of which the last one ends a line."""
    return [*found[:-1], *(replace(one, last=True) for one in found[-1:])]
