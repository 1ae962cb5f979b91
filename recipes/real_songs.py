"""Lay out recorded music as folders that training reads.

    python recipes/real_songs.py pairs --mir1k DIR --singers NAME ... --out DIR
    python recipes/real_songs.py backing --packages DIR --out DIR
    python recipes/real_songs.py guitars --packages DIR --out DIR
    python recipes/real_songs.py multitrack --folder DIR --out DIR

Every song becomes OUT/NNNN with int16 (samples, 2) arrays at 44.1 kHz and MANIFEST.json, which names the source, its
licence and its credit. What is there already is kept, so the command can be stopped and repeated.

pairs       vocals and accompaniment of MIR-1K; the clips of one song are joined
backing     accompaniment: music without singing from Debian packages, at most --seconds of each track
guitars     other: the guitar tracks of Frets on Fire songs from Debian packages
multitrack  the four stems of one song, from files named CLASS__NAME.*

To unpack a package: `apt-get download NAME`, then `dpkg -x NAME.deb DIR/NAME`. The .pk3 of nexuiz-music is a zip file,
to be unpacked in its place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from songs.folder import as_int16, write_song
from stemsplit import audio
from stemsplit.errors import StemsplitError

RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")
PEAK = 0.9
"""What the sum of stems is brought to that would exceed full scale."""
MIR1K = {
    "source": "MIR-1K", "licence": "offered by its authors for research",
    "credit": "C.-L. Hsu and J.-S. R. Jang, On the Improvement of Singing Voice Separation for Monaural Recordings "
              "Using the MIR-1K Dataset, IEEE TASLP 18(2), 2010",
    "bandwidth_hz": 8000,
}  # fmt: skip
MULTITRACK = {"source": "mdn/webaudio-examples, multi-track", "licence": "CC0", "credit": "none required"}


class Music(NamedTuple):
    """Tracks of a Debian package, with their licence and whom to credit."""

    package: str
    files: str
    """A glob in the package's folder."""
    licence: str
    credit: str
    without: tuple[str, ...] = ()
    """Globs of names to leave out."""


_KENTA_CHO = ("a7xpg-data", "gunroar-data", "mu-cade-data", "noiz2sa-data", "parsec47-data", "rrootage-data",
              "titanion-data", "torus-trooper-data", "tumiki-fighters-data")  # fmt: skip
MUSIC = (
    Music("wesnoth-1.16-music", "**/music/*.ogg", "GPL-2+", "the Battle for Wesnoth contributors",
          ("nunc_dimittis*", "main_menu*")),  # a choir; an excerpt of another track
    Music("hyperrogue-music", "**/music/hr3-*.ogg", "CC BY-SA 3.0", "Shawn Parrotte"),
    Music("hyperrogue-music", "**/music/hr-domina-*.ogg", "CC BY-SA 3.0", "Lincoln Domina"),
    Music("hyperrogue-music", "**/music/hr-savino-*.ogg", "CC BY-SA 3.0", "Will Savino"),
    Music("nexuiz-music", "**/cdtracks/*.ogg", "GPL-2+", "Nexuiz: Alientrap, Lee Vermeulen", ("thunder*",)),
    Music("singularity-music", "**/music/**/*.ogg", "CC BY-SA 3.0", "Max McCracken"),
    Music("asc-music", "**/music/*.mp3", "GPL-2+", "Michael Kievernagel"),
    Music("amoebax-data", "**/music/*.ogg", "Free Art License 1.2", "Àlex Almarza", ("Congratulations*",)),
    Music("zaz-data", "**/mus?.ogg", "CC BY-SA 3.0", "Leonard Ritter"),
    Music("frozen-bubble-data", "**/*zik*.ogg", "GPL-2", "the Frozen-Bubble Team"),
    Music("fretsonfire-songs-sectoid", "**/song.ogg", "MIT", "Carlos Viola Iborra"),
    *(Music(name, "**/sounds/**/*.ogg", "BSD-2-Clause", "Kenta Cho") for name in _KENTA_CHO),
)  # fmt: skip
GUITARS = (
    Music("fretsonfire-songs-sectoid", "**/guitar.ogg", "MIT", "Carlos Viola Iborra"),
    Music("fretsonfire-songs-muldjord", "**/guitar.ogg", "CC BY-SA 3.0", "El Senator of Muldjord"),
)
SHORTEST = 400_000
"""Files of fewer bytes are effects and jingles."""

Laid = tuple[dict[str, np.ndarray], dict[str, Any]]
"""A song's stems (2, samples) at 44.1 kHz, and what its MANIFEST.json says."""
Songs = Iterator[tuple[str, Callable[[], Laid]]]
"""Names of songs, and functions that read them."""


def main(arguments: list[str] | None = None) -> int:
    """Lay out what is missing; return 1 if a source cannot be read."""
    options = _parse(arguments)
    try:
        songs = options.lay(options)
        for number, (name, make) in enumerate(songs):
            target = options.out / f"{number:04d}"
            if not (target / "MANIFEST.json").exists():
                write_folder(target, *make())
                print(f"{target.name}: {name}", file=sys.stderr, flush=True)
    except (OSError, StemsplitError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    pairs = kinds.add_parser("pairs")
    pairs.add_argument("--mir1k", type=Path, required=True)
    pairs.add_argument("--singers", nargs="+", required=True)
    pairs.add_argument("--without", nargs="*", default=[], help="songs to leave out: SINGER_SONG")
    pairs.add_argument("--limit", type=int, help="at most so many songs, evenly from all singers")
    pairs.set_defaults(lay=_pairs)
    for name, music in (("backing", MUSIC), ("guitars", GUITARS)):
        kind = kinds.add_parser(name)
        kind.add_argument("--packages", type=Path, required=True, help="folder of unpacked packages, by name")
        kind.add_argument("--seconds", type=float, default=240.0, help="of each track, from an eighth of it on")
        kind.add_argument("--without", nargs="*", default=[], help="tracks to leave out: PACKAGE/NAME")
        kind.set_defaults(lay=_tracks, music=music, stem="other" if name == "guitars" else "accompaniment")
    multitrack = kinds.add_parser("multitrack")
    multitrack.add_argument("--folder", type=Path, required=True)
    multitrack.set_defaults(lay=_multitrack)
    for kind in kinds.choices.values():
        kind.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def _pairs(options: argparse.Namespace) -> Songs:
    for name, clips in evenly(singer_songs(options.mir1k, options.singers, options.without), options.limit):
        yield name, partial(joined, name, clips)


def singer_songs(folder: Path, singers: Sequence[str], without: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Return song (SINGER_SONG) → its voice files in order, without the songs in `without`."""
    songs: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.voice.opus")):
        song = "_".join(path.name.split("_")[:2])
        if song.split("_")[0] in singers and song not in without:
            songs.setdefault(song, []).append(path)
    return songs


def evenly(songs: Mapping[str, list[Path]], limit: int | None) -> list[tuple[str, list[Path]]]:
    """Return at most `limit` songs: the first of every singer, then the second of every singer, and so on."""
    turn: dict[str, int] = {}
    ranked = []
    for name in songs:
        singer = name.split("_")[0]
        turn[singer] = turn.get(singer, -1) + 1
        ranked.append((turn[singer], name))
    return [(name, songs[name]) for _, name in sorted(ranked)[:limit]]


def joined(name: str, voices: Sequence[Path]) -> Laid:
    """Read vocals and accompaniment of a song, with its clips end to end."""
    pairs = [(read(path), read(path.with_name(path.name.replace(".voice.", ".accomp.")))) for path in voices]
    vocals, accompaniment = (np.concatenate(parts, axis=1) for parts in zip(*pairs, strict=True))
    clips = [path.name.removesuffix(".voice.opus") for path in voices]
    return {"vocals": vocals, "accompaniment": accompaniment}, {"song": name, "clips": clips, **MIR1K}


def _tracks(options: argparse.Namespace) -> Songs:
    for music in options.music:
        for path in tracks(options.packages, music, options.without):
            yield path.name, partial(track, path, music, options.stem, options.seconds)


def tracks(packages: Path, music: Music, without: Sequence[str] = ()) -> list[Path]:
    """Return the files of a package's music that are long enough and not in `without` (PACKAGE/NAME)."""
    found = [path for path in sorted((packages / music.package).glob(music.files)) if path.stat().st_size >= SHORTEST]
    return [path for path in found if not any(fnmatch(path.name, pattern) for pattern in music.without)
            and f"{music.package}/{title(path)}" not in without]  # fmt: skip


def title(path: Path) -> str:
    """Return a track's name: that of its file, or for Frets on Fire that of its folder."""
    return path.parent.name if path.stem in ("song", "guitar") else path.stem


def track(path: Path, music: Music, stem: str, seconds: float) -> Laid:
    """Read at most `seconds` of a file as one stem.

    It begins an eighth into the file, where most music is past its introduction.
    """
    whole = audio.probe(path).seconds or seconds
    start = round(min(whole / 8, max(whole - seconds, 0.0)) * RATE)
    length = round(min(seconds, 0.98 * whole) * RATE)  # some files are cut off just before the end that they state
    sound = read(path, start + length)[:, start:]
    about = {"source": title(path), "package": music.package, "licence": music.licence, "credit": music.credit,
             "from_seconds": round(start / RATE, 2)}  # fmt: skip
    return {stem: sound}, about


def _multitrack(options: argparse.Namespace) -> Songs:
    yield options.folder.name, partial(multitrack, options.folder)


def multitrack(folder: Path) -> Laid:
    """Read the stems of one song. Classes without a file are silent, and shorter files end in silence."""
    parts = [(path.name.split("__")[0], read(path)) for path in sorted(folder.glob("*__*.*"))]
    samples = max((sound.shape[1] for _, sound in parts), default=0)
    stems = {name: np.zeros((2, samples), np.float32) for name in STEMS}
    for name, sound in parts:
        stems[name][:, : sound.shape[1]] += sound
    return stems, {"song": folder.name, **MULTITRACK}


def read(path: Path, most: int | None = None) -> np.ndarray:
    """Read a file, or its first `most` samples, as float32 (2, samples) at 44.1 kHz.

    Mono is doubled. Of more than two channels the first two are taken.
    """
    info, blocks, there = audio.probe(path), [], 0
    for block in audio.resample(audio.blocks(info, 4096), info.sample_rate, RATE, info.channels):
        blocks.append(block)
        there += block.shape[1]
        if most is not None and there >= most:
            break  # what follows is not wanted, and may be damaged
    sound = np.concatenate(blocks, axis=1)[:2, :most]
    return np.repeat(sound, 2, axis=0) if len(sound) == 1 else sound


def write_folder(target: Path, stems: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write the arrays and MANIFEST.json of a song whose stems are (2, samples).

    All stems get one gain if one of them, or their sum, exceeds full scale.

    Raises:
        OutputError: The disk refuses a file.
    """
    loudest = max(float(np.abs(s).max(initial=0.0)) for s in (*stems.values(), sum(stems.values())))
    gain = np.float32(min(1.0, PEAK / max(loudest, 1e-9)) if loudest > 1 else 1.0)
    seconds = next(iter(stems.values())).shape[1] / RATE
    arrays = {name: as_int16(stem * gain) for name, stem in stems.items()}
    write_song(target, arrays, {**about, "seconds": round(seconds, 2)}, "MANIFEST.json")


if __name__ == "__main__":
    sys.exit(main())
