"""Pack singing with known pitch for the training of the melody network.

    python recipes/melody_data.py --mir1k DIR --songs DIR ... --separator ts-bsmamba2-mini --out data/melody

Writes one OUT/NAME.npz per clip, at 16 kHz, mono: `voice`, `accompaniment` and `separated` as int16, and `f0` in Hz
every 10 ms from time 0 on, 0 where nobody sings, NaN where it is not known. `separated` is what our separator takes for
vocals in the two mixed at `snr_db`. Clips of MIR-1K are named SINGER_SONG_PART, songs of recipes/render_songs.py
song_SPLIT_NUMBER; the latter have a voice and its f0 where the singer is synthetic. Singers that scores are reported on
are left out. What is there already is kept, so the command can be stopped and repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from stemsplit.errors import StemsplitError
from stemsplit.machine.disk import written_aside

RATE = 16000
HOP_SECONDS = 0.01
TEST_SINGERS = ("abjones", "davidson", "ariel", "amy")
"""Singers of MIR-1K that scores are reported on."""
SNR_DB = (-5.0, 10.0)
"""Range of the voice's level above the accompaniment in what is separated."""
LABEL_HOP = 0.02
"""Seconds from one label of MIR-1K to the next."""
SAME_NOTE = 1.0
"""Between neighbouring labels further apart than this many semitones the pitch is not known."""

Arrays = dict[str, np.ndarray]


def main(arguments: list[str] | None = None) -> int:
    """Pack what is missing; return 1 if a source cannot be read."""
    options = _parse(arguments)
    try:
        for name, arrays in _missing(options):
            _write(options.out / f"{name}.npz", arrays)
        if options.separator:
            _separate(options)
    except (OSError, StemsplitError) as error:
        print(error, file=sys.stderr)
        return 1
    print(contents(options.out), file=sys.stderr)
    return 0


def _missing(options: argparse.Namespace) -> Iterator[tuple[str, Arrays]]:
    if options.mir1k:
        yield from mir1k_clips(options.mir1k, options.out)
    for folder in options.songs:
        yield from rendered_songs(folder, options.out)


def contents(folder: Path) -> str:
    """Return what has been packed, in one line."""
    paths, seconds, sung = sorted(folder.glob("*.npz")), 0.0, 0.0
    for path in paths:
        with np.load(path) as arrays:
            seconds += len(arrays["accompaniment"]) / RATE
            sung += HOP_SECONDS * float((arrays["f0"] > 0).sum()) if "f0" in arrays else 0.0
    return f"{len(paths)} clips, {seconds / 60:.1f} minutes, {sung / 60:.1f} of them sung at a known pitch"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mir1k", type=Path, help="folder of NAME.voice.opus, NAME.accomp.opus and labels.npz")
    parser.add_argument("--songs", type=Path, nargs="*", default=[], help="folders of rendered songs")
    parser.add_argument("--separator", help="also pack this model's vocals of the clips, mixed at -5 to 10 dB")
    parser.add_argument("--overlap", type=float, default=0.25, help="of the separator's chunks")
    parser.add_argument("--only", default="", help="separate only clips whose name begins so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def mir1k_clips(folder: Path, out: Path) -> Iterator[tuple[str, Arrays]]:
    """Yield name and arrays of every clip of MIR-1K that is not a test singer's and not in `out` yet."""
    labels = np.load(folder / "labels.npz")
    for path in sorted(folder.glob("*.voice.opus")):
        name = path.name.removesuffix(".voice.opus")
        if name.split("_")[0] in TEST_SINGERS or (out / f"{name}.npz").exists():
            continue
        voice, accompaniment = (_read(folder / f"{name}.{part}.opus") for part in ("voice", "accomp"))
        yield name, {"voice": voice, "accompaniment": accompaniment, "f0": pitch_of(labels[name], len(voice))}


def pitch_of(label: np.ndarray, samples: int) -> np.ndarray:
    """Turn labels of MIR-1K, semitones every 20 ms from 20 ms on, into Hz every 10 ms from 0 on.

    It is NaN where the pitch is not known.
    """
    position = np.arange(1 + samples // round(RATE * HOP_SECONDS)) * HOP_SECONDS / LABEL_HOP - 1
    before, after = np.floor(position).astype(int), np.ceil(position).astype(int)
    known = (before >= 0) & (after < len(label))
    left, right = (label[np.clip(index, 0, len(label) - 1)] for index in (before, after))
    voiced, silent = (left > 0) & (right > 0) & (np.abs(left - right) < SAME_NOTE), (left <= 0) & (right <= 0)
    hertz = 440 * 2 ** (((left + right) / 2 - 69) / 12)
    return np.where(known & silent, 0.0, np.where(known & voiced, hertz, np.nan)).astype(np.float32)


def rendered_songs(folder: Path, out: Path) -> Iterator[tuple[str, Arrays]]:
    """Yield name and arrays of the rendered songs below `folder` that are not in `out` yet."""
    for path in sorted(folder.rglob("song.json")):
        name = f"song_{path.parts[-3]}_{path.parts[-2]}"
        if (out / f"{name}.npz").exists():
            continue
        stems = {stem: _mono(path.with_name(f"{stem}.npy")) for stem in ("vocals", "drums", "bass", "other")}
        arrays = {"accompaniment": stems["drums"] + stems["bass"] + stems["other"]}
        if (contour := path.with_name("vocals_f0.npy")).exists():
            f0 = np.load(contour)[::2]  # every 5 ms → every 10 ms
            arrays |= {"voice": stems["vocals"], "f0": f0[: 1 + len(stems["vocals"]) // 160].astype(np.float32)}
        yield name, arrays


def _mono(path: Path) -> np.ndarray:
    """Read a stem (samples, 2) at 44.1 kHz as (samples,) at 16 kHz."""
    stem = np.load(path).astype(np.float32) / 32768
    return np.asarray(soxr.resample(stem.mean(axis=1), 44100, RATE))


def _read(path: Path) -> np.ndarray:
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except soundfile.SoundFileError as error:
        raise StemsplitError(f"{path} cannot be read: {error}") from error
    if rate != RATE:
        raise StemsplitError(f"{path} has {rate} Hz, not {RATE}")
    return np.asarray(samples)


def _separate(options: argparse.Namespace) -> None:
    """Add `separated` to every clip with a voice that lacks it."""
    from stemsplit.api.separation import load_network, separate

    network = load_network(options.separator, "cpu")
    for index, path in enumerate(sorted(options.out.glob(f"{options.only}*.npz"))):
        arrays = dict(np.load(path))
        if "separated" in arrays or "voice" not in arrays:
            continue
        rng = np.random.default_rng((options.seed, index))
        snr = rng.uniform(*SNR_DB)
        voice, backing = (arrays[key].astype(np.float32) / 32768 for key in ("voice", "accompaniment"))
        mixture = voice + backing * gain_for(voice, backing, snr)
        stereo = np.stack([soxr.resample(mixture / max(1.0, np.abs(mixture).max()), RATE, 44100)] * 2)
        vocals = separate(stereo, 44100, model=network, stems="vocals", overlap=options.overlap).stems["vocals"]
        arrays["separated"] = soxr.resample(vocals.mean(0), 44100, RATE)[: len(voice)]
        arrays["snr_db"] = np.float32(snr)
        _write(path, arrays)
        print(json.dumps({"separated": path.stem, "snr_db": round(snr, 1)}), file=sys.stderr, flush=True)


def gain_for(voice: np.ndarray, backing: np.ndarray, snr_db: float) -> float:
    """Return the gain of the backing with which the voice is `snr_db` above it; 0 if one of them is silent."""
    energies = float(np.square(voice).mean()), float(np.square(backing).mean())
    return 0.0 if min(energies) <= 0 else (energies[0] / energies[1]) ** 0.5 * 10 ** (-snr_db / 20)


def _write(path: Path, arrays: Arrays) -> None:
    """Write a clip, whole or not at all, with audio as int16."""
    sounds = {key: _as_int16(arrays[key]) for key in ("voice", "accompaniment", "separated") if key in arrays}
    with written_aside(path) as partial, partial.open("wb") as file:
        np.savez(file, **(arrays | sounds))  # type: ignore[arg-type]


def _as_int16(sound: np.ndarray) -> np.ndarray:
    """Return a sound within ±1 as int16; int16 stays as it is."""
    if sound.dtype == np.int16:
        return sound
    return np.asarray(np.round(np.clip(sound, -1, 32767 / 32768) * 32768), np.int16)


if __name__ == "__main__":
    sys.exit(main())
