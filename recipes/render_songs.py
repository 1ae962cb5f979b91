r"""Render training songs with exact stems.

    python recipes/render_songs.py --voices DIR --drums DIR --groove DIR --mir1k DIR --impulses DIR \
        --soundfont FILE --various --real DIR --split train --hours 15 --at-most-gb 30 --flac --seed 1 --out songs
    python recipes/render_songs.py ... --various --split heldout --per-style 2 --kits FILE ... --out dev

Writes OUT/SPLIT/NNNN/{drums,bass,other,vocals}.npy (int16, (samples, 2), 44.1 kHz) or .flac, vocals_f0.npy where a
synthetic voice sings, and song.json, which names the style. A song appears whole or not at all, and is not rendered
again, so the command can be stopped and repeated, and others can read the folder meanwhile. Run it with `nice -n 19`
beside other work; two at once take every second song: --step 2, and --first 0 and 1.

It ends after --songs songs, at --hours of songs, or before OUT is larger than --at-most-gb, whichever comes first.

--various draws from many more styles, voices, instruments and mixes, and needs --real: a folder with drums/ (loops) and
instruments/ (recorded notes). Without it songs are those of the first models, so that scores on them can be compared.
Sources that are missing are named and nothing is rendered, but with --skip-missing banks, kits and loops are left out.

--speech DIR lets people sing and rap who were recorded speaking, in various songs: DIR/SOURCE/SPEAKER/*.opus. Train
songs have none of those that heldout_speakers.txt lists. In held-out songs only those have a voice, and the style is
"speech"; --per-style makes so many songs of each kind of vocals then, in OUT/heldout/speech-KIND-NN.

With --alone the train songs of --speech have vocals alone, and take a tenth of the time.

--speakers DIR writes train songs of vocals alone, too: DIR is that of KLettres (/usr/share/klettres of Debian's
klettres-data), with a folder of syllables for every speaker. Of the other sources only --impulses are used then.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from songs.composition.more_styles import CLUB, VARIOUS_STYLES
from songs.composition.styles import STYLES
from songs.draft import Kit, Sources
from songs.folder import as_int16, bytes_in, write_song
from songs.instruments import drums, loops, samplebanks, soundfont
from songs.mix.effects import RATE
from songs.render import render_song, render_vocals
from songs.stems.people_vocals import KINDS
from songs.voices import recorded, speakers, voicebank
from songs.voices.people.person import Person, list_people, read_heldout
from stemsplit.errors import StemsplitError

INPUTS = ("voices", "drums", "groove", "mir1k", "impulses", "soundfont")
HELDOUT_SINGERS = ("abjones", "davidson", "ariel", "amy")
NEVER_TRAIN = (*HELDOUT_SINGERS, "tammy")
"""Singers of MIR-1K that no train song has."""
GM_KITS = (0, 1, 8, 16, 24, 25, 32, 40)
"""Programs of General MIDI's drum kits."""
KUMI = {"_Core": 62, "_Core_A3": 57, "_Core_A4": 69, "_Core_D5": 74, "_Strong_Low": 62, "_Strong_High": 72,
        "_Whisper_High": 72}  # fmt: skip
"""Folders of the voicebank Hitsuboku Kumi → their pitch (MIDI)."""
MARTIN_TRACT = 0.86
"""How high the resonances of human-voice-dataset's singer lie, relative to an average woman's."""
SCOTTPOID = {".": 48, "E3": 52, "G3": 55, "A3": 57, "C4": 60}
"""Folders of the voicebank SCOTTPOID → their pitch (MIDI)."""
HELDOUT_BANKS = (
    "karoryfer.pastabass_linguine_picked", "karoryfer.growlybass_staccato", "karoryfer.shinyguitar_electric",
    "karoryfer.shinyguitar_acoustic", "GMbank.cp80_electric_grand", "karoryfer.meatbass_arco",
)  # fmt: skip
"""Recorded instruments that no train song has, and the only ones of held-out songs."""
PEOPLE_SHARE = 0.6
"""How often people who were recorded speaking sing in a train song with a voice."""
NEVER = ("muldjord", "vocadito", "lmms")
"""Words in the names of what is kept for tests, and is refused as a source."""
HELDOUT_LOOPS = 5
"""Every so many-th loop is kept for held-out songs."""
CREDITS = {
    "hitsuboku-kumi": "Hitsuboku Kumi by Cubialpha, own terms",
    "human-voice": "vocobox human-voice-dataset, MIT",
    "scottpoid": "SCOTTPOID by Scott, own terms",
    "klettres": "KLettres, GPL-2 or later",
    "librispeech": "LibriSpeech (c) 2014 by Vassil Panayotov, CC BY 4.0",
    "asterisk/allison": "Asterisk prompts by Allison Smith, CC BY-SA 3.0",
    "asterisk/ivrvoice": "Asterisk prompts by ivrvoice.ru, CC BY 3.0",
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
    "patchbanks": "WaivOps / Patchbanks, CC BY 4.0",
    "sonic-pi": "Sonic Pi samples, CC0",
    "AudioKit": "Aurelius Prochazka and AudioKit, MIT",
    "bank: karoryfer": "Karoryfer Samples, CC0",
    "bank: jlearman": "jRhodes3c by Jeff Learman, CC0",
    "bank: SplendidGrandPiano": "Splendid Grand Piano, samples by AKAI, public domain",
    "bank: GMbank": "Discord SFZ GM Bank, CC0",
}
"""What a source's name begins with → whom to credit, and the licence."""


def main(arguments: list[str] | None = None) -> int:
    """Render what is missing; return 1 if a source is not there or cannot be played."""
    options = _parse(arguments)
    if missing := [path for path in _needed(options) if not path.exists()]:
        print(f"not there: {', '.join(map(str, missing))}", file=sys.stderr)
        return 1
    if refused := [path for path in _needed(options) if any(word in str(path).lower() for word in NEVER)]:
        print(f"kept for tests, never to be trained on: {', '.join(map(str, refused))}", file=sys.stderr)
        return 1
    try:
        sources = _chosen_sources(options)
        _render_all(options, sources)
    except (OSError, StemsplitError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _needed(options: argparse.Namespace) -> list[Path]:
    """Return the sources that cannot be done without."""
    needed: list[Path] = [getattr(options, name) for name in INPUTS] + options.kits + options.more_soundfonts
    needed += [path for path in (options.speakers, options.speech) if path]
    return needed + ([options.real / name for name in ("drums", "instruments")] if options.real else [])


def _render_all(options: argparse.Namespace, sources: Sources) -> None:
    """Render songs until there are enough, or the disk has no room for more."""
    limit, used = options.at_most_gb * 1e9, bytes_in(options.out) if options.at_most_gb < np.inf else 0
    hours, largest = 0.0, 0
    for target, index, changes in _planned(options):
        if used + largest > limit:
            print(f"{options.out} holds {used / 1e9:.3g} GB: no more songs", file=sys.stderr)
            return
        if not (target / "song.json").exists():
            _render(target, index, options, replace(sources, **changes))
            size = bytes_in(target)
            used, largest = used + size, max(largest, size)
        hours += json.loads((target / "song.json").read_text(encoding="utf-8"))["seconds"] / 3600
        if hours * options.step >= options.hours:
            print(f"{hours:.2f} hours of songs are there", file=sys.stderr)
            return


def _planned(options: argparse.Namespace) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Yield the folder of every song, its number, and what is changed of the sources for it."""
    folder = options.out / options.split
    if options.per_style:
        for place, (name, changes) in enumerate(_each(options)):
            for index in range(options.first, options.first + options.per_style, options.step):
                yield folder / f"{name.replace(' ', '-')}-{index:02d}", 1000 * place + index, changes
        return
    numbers = itertools.count(options.first, options.step)
    for index in itertools.islice(numbers, options.songs):
        yield folder / f"{index:04d}", index, {}


def _each(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every style, or held-out people's every kind of vocals, and what it changes of the sources."""
    if options.speech and options.split == "heldout":
        yield from ((f"speech {kind}", {"people_kinds": (kind,)}) for kind in KINDS)
    else:
        yield from ((style.name, {"styles": (style,)}) for style in (VARIOUS_STYLES if options.various else STYLES))


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
    parser.add_argument("--speech", type=Path, help="folder of recorded speech, for the vocals of various songs")
    parser.add_argument("--alone", action="store_true", help="vocals alone, of those in --speech")
    parser.add_argument("--analyses", type=Path, help="where the voices' analyses are kept; OUT/analyses by default")
    parser.add_argument("--real", type=Path, help="folder of recorded drum loops and instruments, for various songs")
    parser.add_argument("--skip-missing", action="store_true", help="leave out voicebanks, instruments and loops")
    parser.add_argument("--split", choices=("train", "heldout"), required=True)
    parser.add_argument("--songs", type=int, help="at most so many; no limit if --hours or --at-most-gb are given")
    parser.add_argument("--hours", type=float, default=np.inf, help="until there are so many hours of songs")
    parser.add_argument("--at-most-gb", type=float, default=np.inf, help="until OUT holds so many GB (1e9 bytes)")
    parser.add_argument("--per-style", type=int, default=0, help="so many songs of each style, in OUT/SPLIT/STYLE-NN")
    parser.add_argument("--first", type=int, default=0, help="number of the first song")
    parser.add_argument("--step", type=int, default=1, help="from one song's number to the next")
    parser.add_argument("--flac", action="store_true", help="stems as FLAC files, half as large as arrays")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.songs is None and not options.per_style and np.isinf(options.hours) and np.isinf(options.at_most_gb):
        parser.error("say how many songs: --songs, --per-style, --hours or --at-most-gb")
    if options.speech and not options.various:
        parser.error("--speech is for --various songs")
    if options.alone and not options.speech:
        parser.error("--alone needs --speech, the folder of those who sing")
    if options.various and not (options.real or options.skip_missing or options.speakers):
        parser.error("--various needs --real, the folder of recorded loops and instruments, or --skip-missing")
    return options


def _chosen_sources(options: argparse.Namespace) -> Sources:
    if options.speakers and options.split != "train":
        raise StemsplitError("--speakers are for --split train: nobody is held out of them")
    if options.speakers:
        return speaker_sources(options)
    return train_sources(options) if options.split == "train" else heldout_sources(options)


def train_sources(options: argparse.Namespace) -> Sources:
    """Return the voices, drums and takes that training may use."""
    kumi, martin = options.voices / "hitsuboku-kumi-jpn-act4", options.voices / "human-voice-dataset"
    banks = [(bank, 0.3 if "Whisper" in bank.name else 1.0) for bank in _banks(options, "hitsuboku-kumi", kumi, KUMI)]
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
    banks = tuple((bank, 1.0) for bank in _banks(options, "scottpoid", scott, SCOTTPOID))
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
        soundfonts=tuple(options.more_soundfonts), styles=(*VARIOUS_STYLES, *CLUB) if options.various else STYLES,
        loops=drum_loops(options), recorded=recorded_instruments(options), people=people(options),
        people_share=1.0 if options.alone or options.split == "heldout" else PEOPLE_SHARE,
    )  # fmt: skip


def people(options: argparse.Namespace) -> tuple[Person, ...]:
    """Return those of a split who were recorded speaking.

    Raises:
        StemsplitError: There is nobody.
    """
    if not options.speech:
        return ()
    if not (found := list_people(options.speech, read_heldout(), without=options.split == "train")):
        raise StemsplitError(f"{options.speech}: no SOURCE/SPEAKER/*.opus for --split {options.split}")
    return found


def _banks(
    options: argparse.Namespace, singer: str, folder: Path, pitches: Mapping[str, float]
) -> list[voicebank.Bank]:
    """Return the banks of a singer, one for each of the folders in `folder`."""
    there = _there(options, [folder / name for name in pitches])
    return [voicebank.Bank(f"{singer}/{name}", pitch, voicebank.read_oto(folder / name / "oto.ini"))
            for name, pitch in pitches.items() if folder / name in there]  # fmt: skip


def _there(options: argparse.Namespace, folders: Sequence[Path]) -> list[Path]:
    """Return the folders that are there.

    Raises:
        StemsplitError: One is not, and none may be skipped.
    """
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing and not options.skip_missing:
        raise StemsplitError(f"not there: {', '.join(missing)}; --skip-missing does without")
    if missing:
        print(f"left out, because it is not there: {', '.join(missing)}", file=sys.stderr)
    return [folder for folder in folders if folder.is_dir()]


def recorded_instruments(options: argparse.Namespace) -> dict[str, tuple[samplebanks.SampleBank, ...]]:
    """Return the recorded instruments of a split, by what they are."""
    if not (options.various and options.real):
        return {}
    heldout = options.split == "heldout"
    names = {kind: [name for name in names if (name in HELDOUT_BANKS) == heldout]
             for kind, names in samplebanks.BANKS.items()}  # fmt: skip
    folders = [options.real / "instruments" / name for kind in names for name in names[kind]]
    there = _there(options, folders)
    return {kind: tuple(samplebanks.read_bank(path) for path in there if path.name in names[kind]) for kind in names}


def drum_loops(options: argparse.Namespace) -> tuple[loops.Loop, ...]:
    """Return the drum loops of a split."""
    if not (options.various and options.real):
        return ()
    found, heldout = loops.list_loops(options.real / "drums"), options.split == "heldout"
    found = tuple(loop for loop in found if not any(word in str(loop.path).lower() for word in NEVER))
    return tuple(loop for at, loop in enumerate(found) if (at % HELDOUT_LOOPS == 2) == heldout)


def _render(target: Path, index: int, options: argparse.Namespace, sources: Sources) -> None:
    """Render one song."""
    began = time.perf_counter()
    split = ("train", "heldout").index(options.split)
    seed = [options.seed, split, index]
    render = render_vocals if options.speakers or options.alone else render_song
    song = render(np.random.default_rng(seed), sources)
    arrays = {name: as_int16(stem) for name, stem in song.stems.items()}
    if song.f0 is not None:
        arrays["vocals_f0"] = song.f0.astype(np.float32)
    about = {**song.meta, "seed": seed, "credits": credits(song.meta)}
    if options.speech and options.split == "heldout":
        about |= {"style": "speech", "drawn_style": song.meta["style"]}
    write_song(target, arrays, about, "song.json", RATE if options.flac else 0)
    spent = time.perf_counter() - began
    print(f"{target.name}: {song.meta['style']}, {song.meta['seconds']:.0f} s in {spent:.1f} s", file=sys.stderr,
          flush=True)  # fmt: skip


def credits(meta: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return for each stem whom to credit for what it was made from, with the licences."""
    drum, vocal = meta.get("drums", {}), meta.get("vocals", {})
    if "bass" not in meta:
        return {"vocals": [*_credited([vocal.get("bank", ""), *vocal.get("people", [])]), CREDITS["impulses"]]}
    names = {
        "drums": [*drum.get("samples", []), drum.get("kit", "")]
        + ["groove"] * (meta["groove"] not in (["programmed"], ["loop"])),
        "bass": [meta["soundfont"]] * (meta["bass"]["program"] is not None) + [meta["bass"].get("sound", "")],
        "other": [meta["soundfont"]] * any(part["program"] is not None for part in meta["other"])
        + [part.get("sound", "") for part in meta["other"]],
        "vocals": [vocal.get("bank", ""), *vocal.get("people", [])] + ["mir1k"] * ("clips" in vocal),
    }
    return {stem: [*_credited(used), CREDITS["impulses"]] for stem, used in names.items()}


def _credited(names: Sequence[str]) -> list[str]:
    return sorted({text for name in names for key, text in CREDITS.items() if name.startswith(key)})


if __name__ == "__main__":
    sys.exit(main())
