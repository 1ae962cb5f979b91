"""Lay out recorded music as folders that training reads.

    python recipes/real_songs.py fetch --packages DIR
    python recipes/real_songs.py backing --packages DIR --out DIR
    python recipes/real_songs.py guitars --packages DIR --out DIR
    python recipes/real_songs.py pairs --mir1k DIR --singers NAME ... --out DIR
    python recipes/real_songs.py multitrack --folder DIR --out DIR
    python recipes/real_songs.py demos --real DIR --out DIR
    python recipes/real_songs.py loose --real DIR --stem NAME --out DIR
    python recipes/real_songs.py licences

Every song becomes a folder OUT/NAME with int16 (samples, 2) arrays at 44.1 kHz, or FLAC files with --flac, and
MANIFEST.json, which names the source, its licence and its credit. What is there already is kept, so the command can be
stopped and repeated.

fetch       the Debian packages that backing and guitars read, with apt-get and dpkg-deb (a few GB)
backing     accompaniment: music without singing from Debian packages, at most --seconds of each track
guitars     other: the guitar tracks of Frets on Fire songs from Debian packages
pairs       vocals and accompaniment of MIR-1K; the clips of one song are joined
multitrack  the four stems of one song, from files named CLASS__NAME.*
demos       drums, bass and other of programmed songs
loose       one stem only: loops, phrases and notes, to be drawn into mixes of different songs
licences    nothing is laid out: prints the sources, their licences and credits as a table
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recordings.game_music import GAME_MUSIC, GUITARS, HELD_OUT, VOICED
from recordings.loose import DEMOS, LONGEST, LOOSE, Demo, Loose, find_loose, joined_up_to
from recordings.music import Music, folder_name, licences, title, tracks
from recordings.packages import fetch
from songs.folder import as_int16, write_song
from stemsplit import audio
from stemsplit.errors import AudioError, StemsplitError

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


Laid = tuple[dict[str, np.ndarray], dict[str, Any]]
"""A song's stems (2, samples) at 44.1 kHz, and what its MANIFEST.json says."""
Songs = Iterator[tuple[str, Callable[[], Laid]]]
"""Names of songs, and functions that read them."""


def main(arguments: list[str] | None = None) -> int:
    """Lay out what is missing; return 1 if a source cannot be read. The others are laid out in any case."""
    options = _parse(arguments)
    failed = 0
    try:
        for name, make in options.lay(options):
            target = options.out / name
            if (target / "MANIFEST.json").exists():
                continue
            try:
                stems, about = make()
            except AudioError as error:
                print(f"left out: {error}", file=sys.stderr, flush=True)
                failed = 1
                continue
            write_folder(target, stems, about, RATE if options.flac else 0)
            print(name, file=sys.stderr, flush=True)
    except (OSError, StemsplitError) as error:
        print(error, file=sys.stderr)
        return 1
    return failed


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    pairs = kinds.add_parser("pairs")
    pairs.add_argument("--mir1k", type=Path, required=True)
    pairs.add_argument("--singers", nargs="+", required=True)
    pairs.add_argument("--without", nargs="*", default=[], help="songs to leave out: SINGER_SONG")
    pairs.add_argument("--limit", type=int, help="at most so many songs, evenly from all singers")
    pairs.set_defaults(lay=_pairs)
    for name, music in (("backing", GAME_MUSIC), ("guitars", GUITARS)):
        kind = kinds.add_parser(name)
        kind.add_argument("--packages", type=Path, required=True, help="folder of unpacked packages, by name")
        kind.add_argument("--seconds", type=float, default=240.0, help="of each track, from an eighth of it on")
        kind.add_argument("--without", nargs="*", default=[], help="tracks to leave out: PACKAGE/NAME")
        kind.add_argument("--heldout", action="store_true", help="the tracks kept for development, and no others")
        kind.set_defaults(lay=_tracks, music=music, stem="other" if name == "guitars" else "accompaniment")
    multitrack = kinds.add_parser("multitrack")
    multitrack.add_argument("--folder", type=Path, required=True)
    multitrack.set_defaults(lay=_multitrack)
    for name, lay in (("demos", _demos), ("loose", _loose)):
        kind = kinds.add_parser(name)
        kind.add_argument("--real", type=Path, required=True, help="folder with multitrack/, drums/, bass/, ...")
        kind.set_defaults(lay=lay)
    kinds.choices["loose"].add_argument("--stem", choices=STEMS, nargs="+", default=STEMS)
    for kind in kinds.choices.values():
        kind.add_argument("--out", type=Path, required=True)
        kind.add_argument("--flac", action="store_true", help="half the disk, read a little slower")
    fetching = kinds.add_parser("fetch")
    fetching.add_argument("--packages", type=Path, required=True)
    fetching.set_defaults(lay=_fetch)
    kinds.add_parser("licences").set_defaults(lay=_licences)
    return parser.parse_args(arguments)


def _fetch(options: argparse.Namespace) -> Songs:
    for name in fetch((music.package for music in (*GAME_MUSIC, *GUITARS)), options.packages):
        print(name, file=sys.stderr, flush=True)
    return iter(())


def _licences(options: argparse.Namespace) -> Songs:
    packages = ((music.package, music.licence, music.credit) for music in (*GAME_MUSIC, *GUITARS))
    folders = ((entry.folder, entry.licence, entry.credit) for entry in (*LOOSE, *DEMOS))
    print(licences((*packages, *folders)))
    return iter(())


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
    left_out = (*options.without, *VOICED)
    for music in options.music:
        for path in tracks(options.packages, music, left_out):
            if (f"{music.package}/{title(path)}" in HELD_OUT) == options.heldout:
                name = folder_name(music.package, path)
                yield name, partial(track, path, music, options.stem, options.seconds)


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
    stems = _classes(folder, STEMS)
    return stems, {"song": folder.name, **MULTITRACK}


def _demos(options: argparse.Namespace) -> Songs:
    for demo in DEMOS:
        for folder in options.real.glob(f"multitrack/*/{demo.folder}"):
            yield demo.folder, partial(_demo, folder, demo)


def _demo(folder: Path, demo: Demo) -> Laid:
    """Read drums, bass and other of a song; nobody sings."""
    stems = _classes(folder, [stem for stem in STEMS[:3] if stem not in demo.without])
    return stems, {"song": demo.folder, "licence": demo.licence, "credit": demo.credit}


def _classes(folder: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the sums of the files CLASS__NAME.* of every class, equally long."""
    parts = [(path.name.split("__")[0], read(path)) for path in sorted(folder.glob("*__*.*"))]
    samples = max((sound.shape[1] for _, sound in parts), default=0)
    stems = {name: np.zeros((2, samples), np.float32) for name in names}
    for name, sound in parts:
        if name in stems:
            stems[name][:, : sound.shape[1]] += sound
    return stems


def _loose(options: argparse.Namespace) -> Songs:
    for loose in LOOSE:
        for folder, paths in find_loose(options.real, loose) if loose.stem in options.stem else ():
            songs = joined_up_to(map(read, paths), round(LONGEST * RATE))
            for number, sound in enumerate(songs):
                yield f"{loose.stem}-{folder}-{number}", partial(_single, loose, folder, sound)


def _single(loose: Loose, folder: str, sound: np.ndarray) -> Laid:
    return {loose.stem: sound}, {"source": folder, "licence": loose.licence, "credit": loose.credit}


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


def write_folder(target: Path, stems: Mapping[str, np.ndarray], about: Mapping[str, Any], rate: int = 0) -> None:
    """Write the arrays, or at a `rate` in Hz FLAC files, and MANIFEST.json of a song whose stems are (2, samples).

    All stems get one gain if one of them, or their sum, exceeds full scale.

    Raises:
        OutputError: The disk refuses a file.
    """
    loudest = max(float(np.abs(s).max(initial=0.0)) for s in (*stems.values(), sum(stems.values())))
    gain = np.float32(min(1.0, PEAK / max(loudest, 1e-9)) if loudest > 1 else 1.0)
    seconds = next(iter(stems.values())).shape[1] / RATE
    arrays = {name: as_int16(stem * gain) for name, stem in stems.items()}
    write_song(target, arrays, {**about, "seconds": round(seconds, 2)}, "MANIFEST.json", rate)


if __name__ == "__main__":
    sys.exit(main())
