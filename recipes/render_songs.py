r"""Render training songs with exact stems.

    python recipes/render_songs.py --voices DIR --drums DIR --groove DIR --mir1k DIR --impulses DIR \
        --soundfont FILE --split train --songs 200 --seed 1 --out songs

Writes OUT/SPLIT/NNNN/{drums,bass,other,vocals}.npy (int16, (samples, 2), 44.1 kHz), vocals_f0.npy where a synthetic
voice sings, and song.json. A song with a song.json is complete, and is not rendered again, so the command can be
repeated after a stop. The later models train on songs rendered with --various. Held-out songs are rendered without it,
so that scores on them can be compared. --speakers DIR writes train songs of vocals alone: DIR is that of KLettres
(/usr/share/klettres of Debian's klettres-data), with a folder of syllables for every speaker. Of the other sources only
--impulses are used then.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from songs.draft import Kit, Sources
from songs.folder import as_int16, write_song
from songs.instruments import drums, soundfont
from songs.render import render_song, render_vocals
from songs.voices import recorded, speakers, voicebank
from stemsplit.errors import StemsplitError

INPUTS = ("voices", "drums", "groove", "mir1k", "impulses", "soundfont")
HELDOUT_SINGERS = ("abjones", "davidson", "ariel", "amy")
NEVER_TRAIN = (*HELDOUT_SINGERS, "tammy")
"""Singers of MIR-1K that no train song has."""
GM_KITS = (0, 1, 8, 16, 24, 25, 32, 40)
"""Programs of General MIDI's drum kits."""
KUMI = {"_Core": 62, "_Core_A3": 57, "_Core_A4": 69, "_Core_D5": 74, "_Strong_Low": 62, "_Strong_High": 72,
        "_Whisper_Low": 59, "_Whisper_High": 72}  # fmt: skip
"""Folders of the voicebank Hitsuboku Kumi → their pitch (MIDI)."""
MARTIN_TRACT = 0.86
"""How high the resonances of human-voice-dataset's singer lie, relative to an average woman's."""
SCOTTPOID = {".": 48, "E3": 52, "G3": 55, "A3": 57, "C4": 60}
"""Folders of the voicebank SCOTTPOID → their pitch (MIDI)."""
CREDITS = {
    "hitsuboku-kumi": "Hitsuboku Kumi by Cubialpha, own terms",
    "human-voice": "vocobox human-voice-dataset, MIT",
    "scottpoid": "SCOTTPOID by Scott, own terms",
    "klettres": "KLettres, GPL-2 or later",
    "mir1k": "MIR-1K, research only",
    "groove": "Groove MIDI Dataset by Google LLC, CC BY 4.0",
    "stargate__": "stargate-sample-pack, CC0",
    "uzu__": "uzu-drumkit, Unlicense",
    "FluidR3": "FluidR3 soundfont, MIT",
    "TimGM6mb": "TimGM6mb soundfont, GPL-2",
    "MuseScore": "MuseScore General soundfont, MIT",
    "Black_Pearl": "AVL drums, CC BY-SA 3.0",
    "Red_Zeppelin": "AVL drums, CC BY-SA 3.0",
    "impulses": "Google web-audio-samples, Apache-2.0",
}
"""What a source's name begins with → whom to credit, and the licence."""


def main(arguments: list[str] | None = None) -> int:
    """Render what is missing; return 1 if a source is not there or cannot be played."""
    options = _parse(arguments)
    needed = [getattr(options, name) for name in INPUTS] + options.kits + options.more_soundfonts
    needed += [options.speakers] if options.speakers else []
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        print(f"not there: {', '.join(missing)}", file=sys.stderr)
        return 1
    try:
        sources = _chosen_sources(options)
        for index in range(options.first, options.first + options.songs):
            _render(options.out / options.split / f"{index:04d}", index, options, sources)
    except (OSError, StemsplitError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in (*INPUTS, "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--kits", type=Path, nargs="*", default=[], help="soundfonts of heldout drum kits, at bank 0")
    parser.add_argument("--various", action="store_true", help="many more voices, instruments and mixes")
    parser.add_argument(
        "--more-soundfonts", type=Path, nargs="*", default=[], help="other soundfonts, for various songs"
    )
    parser.add_argument("--speakers", type=Path, help="folder of the speakers that sing songs of vocals alone")
    parser.add_argument("--analyses", type=Path, help="where the voices' analyses are kept; OUT/analyses by default")
    parser.add_argument("--split", choices=("train", "heldout"), required=True)
    parser.add_argument("--songs", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first song")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def _chosen_sources(options: argparse.Namespace) -> Sources:
    if options.speakers and options.split != "train":
        raise StemsplitError("--speakers are for --split train: nobody is held out of them")
    if options.speakers:
        return speaker_sources(options)
    return train_sources(options) if options.split == "train" else heldout_sources(options)


def train_sources(options: argparse.Namespace) -> Sources:
    """Return the voices, drums and takes that training may use."""
    kumi, martin = options.voices / "hitsuboku-kumi-jpn-act4", options.voices / "human-voice-dataset"
    banks = [(_bank(f"hitsuboku-kumi/{name}", kumi / name, pitch), 0.3 if "Whisper" in name else 1.0)
             for name, pitch in KUMI.items()]  # fmt: skip
    held_notes = sorted(path for path in martin.rglob("*.opus") if "bended" not in path.name)
    banks.append((replace(voicebank.notes_bank("human-voice/martin", held_notes, 50), tract=MARTIN_TRACT), 1.5))
    fonts = (options.soundfont, *options.more_soundfonts)
    kits = tuple(Kit(font, program, 9) for font in fonts for program in GM_KITS)
    return _sources(options, tuple(banks), "stargate__", kits, ("train", "validation"),
                    recorded.list_clips(options.mir1k, None, NEVER_TRAIN), 0.45)  # fmt: skip


def speaker_sources(options: argparse.Namespace) -> Sources:
    """Return speakers as the only voices, and nothing that plays.

    Raises:
        StemsplitError: None of them can be made to sing.
    """
    if not (banks := speaker_banks(options.speakers)):
        raise StemsplitError(f"{options.speakers}: no speaker with enough voiced Ogg files")
    return _sources(options, banks, "stargate__", (), ("train",), recorded.Clips({}, {}), 0.0)


def speaker_banks(folder: Path) -> tuple[tuple[voicebank.Bank, float], ...]:
    """Return a bank of every speaker of whom enough can be sung, all with the same weight."""
    people = ((path.name, sorted(path.rglob("*.ogg"))) for path in sorted(folder.iterdir()))
    banks = (speakers.speaker_bank(f"klettres/{name}", files) for name, files in people)
    return tuple((bank, 1.0) for bank in banks if bank)


def heldout_sources(options: argparse.Namespace) -> Sources:
    """Return the voices, drums and takes that training never sees."""
    scott = options.voices / "scottpoid-jpn"
    banks = tuple((_bank(f"scottpoid/{name}", scott / name, pitch), 1.0) for name, pitch in SCOTTPOID.items())
    kits = tuple(Kit(path, 0, 0) for path in options.kits)
    return _sources(options, banks, "uzu__", kits, ("test",), recorded.list_clips(options.mir1k, HELDOUT_SINGERS), 0.35)


def _sources(
    options: argparse.Namespace,
    banks: tuple[tuple[voicebank.Bank, float], ...],
    prefix: str,
    kits: tuple[Kit, ...],
    splits: tuple[str, ...],
    voices: recorded.Clips,
    share: float,
) -> Sources:
    return Sources(
        synth=soundfont.play, soundfont=options.soundfont, takes=drums.list_takes(options.groove, splits),
        shots=drums.list_one_shots(options.drums, prefix), kits=kits, banks=banks, clips=voices,
        impulses=tuple(sorted(options.impulses.glob("*.flac"))), clip_share=share,
        store=voicebank.AnalysisStore(options.analyses or options.out / "analyses"), various=options.various,
        soundfonts=tuple(options.more_soundfonts),
    )  # fmt: skip


def _bank(name: str, folder: Path, pitch: float) -> voicebank.Bank:
    return voicebank.Bank(name, pitch, voicebank.read_oto(folder / "oto.ini"))


def _render(target: Path, index: int, options: argparse.Namespace, sources: Sources) -> None:
    """Render one song, unless it is there."""
    if (target / "song.json").exists():
        return
    began = time.perf_counter()
    split = ("train", "heldout").index(options.split)
    seed = [options.seed, split, index]
    render = render_vocals if options.speakers else render_song
    song = render(np.random.default_rng(seed), sources)
    arrays = {name: as_int16(stem) for name, stem in song.stems.items()}
    if song.f0 is not None:
        arrays["vocals_f0"] = song.f0.astype(np.float32)
    write_song(target, arrays, {**song.meta, "seed": seed, "credits": credits(song.meta)}, "song.json")
    spent = time.perf_counter() - began
    about = f"{song.meta['style']}, {song.meta['seconds']:.0f} s in {spent:.1f} s"
    print(f"{target.name}: {about}", file=sys.stderr, flush=True)


def credits(meta: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return for each stem whom to credit for what it was made from, with the licences."""
    drum, vocal = meta.get("drums", {}), meta.get("vocals", {})
    if "bass" not in meta:
        return {"vocals": [*_credited([vocal.get("bank", "")]), CREDITS["impulses"]]}
    names = {
        "drums": [*drum.get("samples", []), drum.get("kit", "")] + ["groove"] * (meta["groove"] != ["programmed"]),
        "bass": [meta["soundfont"]] * (meta["bass"]["program"] is not None),
        "other": [meta["soundfont"]] * any(part["program"] is not None for part in meta["other"]),
        "vocals": [vocal.get("bank", "")] + ["mir1k"] * ("clips" in vocal),
    }
    return {stem: [*_credited(used), CREDITS["impulses"]] for stem, used in names.items()}


def _credited(names: Sequence[str]) -> list[str]:
    return sorted({text for name in names for key, text in CREDITS.items() if name.startswith(key)})


if __name__ == "__main__":
    sys.exit(main())
