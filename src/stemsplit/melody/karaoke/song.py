"""A song on disk and its notes → what UltraStar needs: title and artist, the sound to play, and the words.

The sound is the song without its voice if `separate` has left that, else the song itself. The words are those of an LRC
file beside the song.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stemsplit.audio import Tags
from stemsplit.files.manifest import output_paths, read_manifest, selections
from stemsplit.machine.disk import sha256_of
from stemsplit.melody.karaoke.lyrics import Line, Lyrics, lyrics_beside, read_lyrics
from stemsplit.melody.karaoke.ultrastar import Heading, Syllable, with_words, without_words
from stemsplit.melody.notes import Note

INSTRUMENTAL = ("no_vocals", "no vocals", "instrumental")
"""What outputs without a voice are called."""


def words_of(source: Path | None) -> Lyrics:
    """Return the words of a song; none if there is no file with them. Raises: UsageError if that cannot be read."""
    path = None if source is None else lyrics_beside(source)
    return Lyrics() if path is None else read_lyrics(path)


def words_hash(source: Path | None) -> str | None:
    """Return the hash of the file with the words of a song; None if there is none."""
    path = None if source is None else lyrics_beside(source)
    return None if path is None else sha256_of(path)


def syllables_for(notes: Sequence[Note], lyrics: Lyrics, start: float = 0.0) -> list[Syllable]:
    """Return what is sung on notes; `start` is where they begin in the song, in seconds."""
    if not lyrics.lines:
        return without_words(notes)
    lines = [Line(line.start - start, line.words) for line in lyrics.lines]
    return with_words(notes, [line for line in lines if line.start >= 0])


def heading_for(
    target: Path, source: Path | None, track: str, tags: Tags, lyrics: Lyrics, sound: Mapping[str, Path], bpm: float
) -> Heading:
    """Return what stands above the notes.

    Args:
        target: where the text will be.
        source: the song; None if it came from a pipe.
        track: what it is called among the outputs.
        tags: of the song.
        lyrics: its words, whose file may name it, too.
        sound: what `sound_of` has found.
        bpm: its tempo.
    """
    title, artist = (next(iter(tags.fields.get(name, ())), "") for name in ("title", "artist"))
    plays = sound.get("instrumental", source)
    vocals = sound.get("vocals") if "instrumental" in sound else None
    return Heading(
        title or lyrics.about.get("ti") or Path(track).name,
        artist or lyrics.about.get("ar") or "Unknown",
        f"{Path(track).name}.wav" if plays is None else _from(target, plays),
        None if vocals is None else _from(target, vocals),
        bpm,
    )


def sound_of(manifest: Path, sha256: str) -> dict[str, Path]:
    """Return what `separate` has left of a song: "instrumental" and "vocals" → a file that is there.

    Args:
        manifest: of the stems.
        sha256: of the song; what was made of another one does not count.
    """
    said: Mapping[str, Any] = read_manifest(manifest) or {}
    found: dict[str, Path] = {}
    try:
        for made in selections(said) if said["input"]["sha256"] == sha256 else ():
            for name, path in output_paths(manifest, made).items():
                kind = "instrumental" if name in INSTRUMENTAL else name
                if kind in ("instrumental", "vocals") and path.is_file():
                    found.setdefault(kind, path)
    except (KeyError, TypeError, AttributeError, ValueError):  # there is none, or somebody edited it
        pass
    return found


def _from(target: Path, path: Path) -> str:
    return Path(os.path.relpath(path, target.parent)).as_posix()
