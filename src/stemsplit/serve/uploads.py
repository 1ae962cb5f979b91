"""The name of an uploaded song → a name that is safe here, and a folder among the outputs that is free for it."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from itertools import count
from pathlib import Path, PurePath
from typing import NamedTuple

from stemsplit.audio import AUDIO_SUFFIXES
from stemsplit.files.manifest import MANIFEST_NAME, read_manifest
from stemsplit.files.naming import same_place, shortened, track_name

NAME_BYTES = 200
"""The longest name: it leaves room for the number of a second song of that name."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # devices of Windows


def safe_name(name: str) -> str:
    """Return the last part of a file name, as every system can keep it. It is never empty, hidden or a device."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    name = "".join("_" if _is_odd(letter) else letter for letter in _UNSAFE.sub("_", name)).strip(" .")
    if not name or not PurePath(name).stem:
        return "song"
    if _RESERVED.match(name):
        name = f"_{name}"
    suffix = PurePath(name).suffix if len(PurePath(name).suffix) < 10 else ""
    return shortened(name.removesuffix(suffix), NAME_BYTES - len(os.fsencode(suffix))) + suffix


def _is_odd(letter: str) -> bool:
    """Whether a letter is invisible, changes the direction of what follows, or is no Unicode."""
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")


class Waiting(NamedTuple):
    """A song that waits or is worked on: where it goes, and the hash of its file."""

    track: str
    sha256: str


def free_track(output: Path, name: str, sha256: str, waiting: Iterable[Waiting]) -> str:
    """Return what a song is called among the outputs: "song", or "song (2)" where that is another one.

    Args:
        output: the output folder.
        name: of its file, safe already.
        sha256: of its file. What was made of the same file is not another song.
        waiting: songs that are not done yet.
    """
    taken = {same_place(Path(one.track)): one.sha256 for one in waiting}
    base = track_name(PurePath(name), AUDIO_SUFFIXES)
    for number in count(1):
        track = base if number == 1 else f"{base} ({number})"
        if taken.get(same_place(Path(track)), sha256) == sha256 and _is_free(output / track, sha256):
            return track
    raise AssertionError("numbers do not end")


def _is_free(folder: Path, sha256: str) -> bool:
    if not os.path.lexists(folder):
        return True
    made_of = (read_manifest(folder / MANIFEST_NAME) or {}).get("input")
    if isinstance(made_of, dict):
        return bool(made_of.get("sha256") == sha256)
    return folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())
