"""Recordings of one stem, joined into songs that have that stem only: loops, phrases, notes. And small multitracks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recordings.music import matches

LONGEST = 120.0
"""Seconds; what is longer when joined becomes several songs."""


class Loose(NamedTuple):
    """A folder of recordings of one stem."""

    stem: str
    folder: str
    """A glob."""
    licence: str
    credit: str
    without: tuple[str, ...] = ()
    """Globs of names to leave out."""


class Demo(NamedTuple):
    """A song whose folder has files CLASS__NAME.*; classes in `without` hold something else, and are left out."""

    folder: str
    licence: str
    credit: str
    without: tuple[str, ...] = ()


_LMMS = "LMMS demo projects"
LOOSE = (
    Loose("drums", "patchbanks_WaivOps-*", "CC BY 4.0", "WaivOps / Patchbanks"),
    Loose("drums", "AudioKit*", "MIT", "Aurelius Prochazka and AudioKit"),
    Loose("drums", "sonic-pi", "CC0", "Sonic Pi"),
    Loose("bass", "AudioKit-Cookbook", "MIT", "Aurelius Prochazka and AudioKit"),
    Loose("bass", "sonic-pi", "CC0", "Sonic Pi"),
    Loose("other", "AudioKit-Cookbook", "MIT", "Aurelius Prochazka and AudioKit"),
    Loose("other", "ear-training-lab_musopen-chopin", "CC0", "Musopen"),
    Loose("other", "sonic-pi", "CC0", "Sonic Pi", ("ambi_choir*", "ambi_haunted_hum*")),  # voices, or like them
    Loose("vocals", "debian_scratch", "CC BY-SA 3.0", "MIT, Scratch"),
    Loose("vocals", "ALYS_gpl3", "GPL-3", "ALYS"),
)
DEMOS = (
    Demo("CapDan-ReggaeTry", "Artistic-2.0", f"CapDan, {_LMMS}"),
    Demo("CapDan-ReggaetonTry", "Artistic-2.0", f"CapDan, {_LMMS}"),
    Demo("CapDan-TwilightArea-OriginalByAlf42red", "CC BY-SA 3.0", f"CapDan, Alf42red, {_LMMS}"),
    Demo("CapDan-ZeroSumGame-OriginalByZakarra", "Artistic-2.0", f"CapDan, Zakarra, {_LMMS}"),
    Demo("EsoXLB-CPU", "Artistic-2.0", f"EsoXLB, {_LMMS}"),
    Demo("Settel-InnerRecreation", "Artistic-2.0", f"Settel, {_LMMS}", ("other",)),  # with a bass and noise hits
    Demo("Skiessi-222", "CC BY-SA 4.0", f"Skiessi, {_LMMS}"),
    Demo("Skiessi-C64", "CC BY-SA 4.0", f"Skiessi, {_LMMS}", ("bass",)),  # with the arpeggios
    Demo("Thomasso-AxeFromThe80s", "Artistic-2.0", f"Thomasso, {_LMMS}"),
)


def find_loose(real: Path, loose: Loose) -> list[tuple[str, list[Path]]]:
    """Return the folders in `real`/STEM that a glob names, each with its recordings in order."""
    folders = sorted(path for path in (real / loose.stem).glob(loose.folder) if path.is_dir())
    found = [(folder.name, sorted(folder.glob("*.opus"))) for folder in folders]
    return [(name, [path for path in paths if not matches(path.name, loose.without)]) for name, paths in found]


def joined_up_to(sounds: Iterator[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """Join sounds (2, n) end to end; yield a song whenever the next sound would take it beyond `samples`."""
    song: list[np.ndarray] = []
    for sound in sounds:
        if song and sum(part.shape[1] for part in song) + sound.shape[1] > samples:
            yield np.concatenate(song, axis=1)
            song = []
        song.append(sound)
    if song:
        yield np.concatenate(song, axis=1)
