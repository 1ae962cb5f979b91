"""Stems → a project for REAPER beside them, with a track for each, relative paths, and the tempo where it is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stemsplit.audio.info import Warn
from stemsplit.files.manifest import ANALYSIS_MANIFEST, read_manifest, relative_path
from stemsplit.machine.disk import sha256_of
from stemsplit.machine.together import Together
from stemsplit.options import DEFAULT_MELODY_OUTPUT
from stemsplit.runs.jobs import Job

SOURCES = {
    "wav": "WAVE",
    "aiff": "WAVE",
    "flac": "FLAC",
    "mp3": "MP3",
    "ogg": "VORBIS",
    "opus": "VORBIS",
    "mid": "MIDI",
}
"""Suffix → what REAPER calls such a source."""
KNOWN = 0.7
"""The confidence of a tempo from which on it is taken."""


class Track(NamedTuple):
    """A track with one item from the start on: its name, its file as the project names it, and its length."""

    name: str
    file: str
    seconds: float


def project_path(job: Job) -> Path:
    """Return where the project of a song lies: beside its manifest, SONG.rpp."""
    return job.manifest.with_name(f"{job.manifest.parent.name}.rpp")


def write_project(
    job: Job, samples: int, sample_rate: int, sha256: str, together: Together, warn: Warn
) -> dict[str, Any]:
    """Write the project aside, and return what the manifest says of it.

    A project that was changed since, as by REAPER, is left alone.

    Args:
        job: its targets are the stems.
        samples: of each stem.
        sample_rate: Hz.
        sha256: of the song.
        together: gives the project its name when all is there.
        warn: told if it is left alone.
    """
    path, seconds = project_path(job), samples / sample_rate
    before = (read_manifest(job.manifest) or {}).get("project")
    if os.path.lexists(path) and not (isinstance(before, dict) and _unchanged(path, before.get("sha256"))):
        warn(f"{path.name} was changed, or is somebody else's: it is left as it is")
        return {"project": before} if isinstance(before, dict) else {}
    tracks = [Track(name, relative_path(job.manifest, file), seconds) for name, file in job.targets.items()]
    melody = DEFAULT_MELODY_OUTPUT / f"{job.track}.mid"
    if melody.is_file():
        tracks.append(Track("melody", relative_path(job.manifest, melody), seconds))
    place = together.aside(path)
    place.write_text(reaper_project(tracks, sample_rate, _tempo(job, sha256)), encoding="utf-8", newline="\n")
    return {"project": {"path": relative_path(job.manifest, path), "sha256": sha256_of(place)}}


def _unchanged(path: Path, sha256: Any) -> bool:
    try:
        return bool(sha256_of(path) == sha256)
    except OSError:
        return False


def _tempo(job: Job, sha256: str) -> float | None:
    """Return the tempo that `analyse` has found in the song; None if it is not known, or only guessed."""
    said = read_manifest(job.manifest.with_name(ANALYSIS_MANIFEST)) or {}
    try:
        if said["input"]["sha256"] == sha256 and said["tempo"]["confidence"] >= KNOWN:
            return float(said["tempo"]["bpm"])
    except (KeyError, TypeError, ValueError):  # somebody edited it
        pass
    return None


def reaper_project(tracks: Sequence[Track], sample_rate: int, bpm: float | None) -> str:
    """Return a project as REAPER reads it: a block in < and > for each track, item and source."""
    lines = ["<REAPER_PROJECT 0.1", f"  SAMPLERATE {sample_rate} 1 0"]
    lines += [] if bpm is None else [f"  TEMPO {bpm:g} 4 4"]
    for track in tracks:
        source = SOURCES.get(track.file.rpartition(".")[2].lower(), "WAVE")
        lines += [
            "  <TRACK", f"    NAME {_quoted(track.name)}",
            "    <ITEM", "      POSITION 0", f"      LENGTH {track.seconds:.9f}", "      LOOP 0",
            f"      NAME {_quoted(track.name)}",
            f"      <SOURCE {source}", f"        FILE {_quoted(track.file)}", "      >", "    >", "  >",
        ]  # fmt: skip
    return "\n".join([*lines, ">", ""])


def _quoted(text: str) -> str:
    """Return a text in quotes that are not in it; REAPER knows three kinds."""
    quote = next((mark for mark in "\"'`" if mark not in text), None)
    return f"`{text.replace('`', chr(39))}`" if quote is None else f"{quote}{text}{quote}"
