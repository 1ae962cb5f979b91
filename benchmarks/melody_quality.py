"""Score melody networks beside other pitch trackers, on clips of singers that none of our networks has seen.

    python benchmarks/melody_quality.py --mir1k DIR [--model REF ...] [--trackers ours pyin swift-f0 pesto]
        [--conditions voice 15dB 0dB separated song] [--singers NAME ...] [--clips-per-singer N] [--json FILE] …
    python benchmarks/melody_quality.py --mir1k DIR --speed [--minutes M] [--repeats N]

DIR holds MIR-1K as NAME.voice.opus, NAME.accomp.opus and labels.npz: MIDI semitones every 20 ms, the first at 20 ms,
0 where nothing is sung. Conditions:

    voice       the voice alone
    15dB        the accompaniment 15 dB below the voice, in RMS over the clip
    0dB         the accompaniment as loud as the voice
    separated   the vocals that --separator makes of the 0dB mixture
    song        the 0dB mixture, as `stemsplit melody` reads it: its separated vocals and itself; for our networks

Two songs of the test singer davidson were sung to the same backing tracks by train singers (shared_accompaniments.py
finds them): they are left out unless --exclude says otherwise.

mir_eval scores every clip at its labels. The figures printed are means over clips, as MIREX reports them; "all" is the
total over all frames. What the trackers are and how they decide on voicing: melody_trackers.py. Seconds are CPU time
per second of audio, which other programs on the machine change less than the clock; network and peers are held to
--threads, and OMP_NUM_THREADS holds the rest. --speed prints both, medians of repeats that take turns.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import melody_trackers as trackers
import numpy as np
import soundfile

from stemsplit import __version__
from stemsplit.evaluation.melody import FIGURES, MelodyScore, mean_score, score_melody, total_score
from stemsplit.melody.contour import Contour

RATE = trackers.RATE
LABEL_HOP = 0.02
TEST_SINGERS = ("abjones", "davidson", "ariel", "amy")
"""The singers of MIR-1K that neither the separator nor the melody network was trained on."""
ALSO_TRAINED_ON = ("davidson_2", "davidson_3")
"""Songs of test singers that train singers (fdps, Kenshin) sang too, to the same accompaniment."""
CONDITIONS = ("voice", "15dB", "0dB", "separated", "song")
ACCOMPANIMENT_DB = {"15dB": -15.0, "0dB": 0.0, "separated": 0.0, "song": 0.0}
TITLES = ("overall", "pitch", "chroma", "recall", "false alarm")


@dataclass(frozen=True)
class Clip:
    """A clip in memory: float32 (samples,) at 16 kHz, and its true melody."""

    name: str
    voice: np.ndarray
    accompaniment: np.ndarray
    truth: Contour


@dataclass(frozen=True)
class Result:
    """What one tracker scored in one condition, clip by clip, and the CPU time it took."""

    clips: dict[str, MelodyScore]
    seconds_per_second: float

    @property
    def mean(self) -> MelodyScore:
        return mean_score(list(self.clips.values()))

    @property
    def total(self) -> MelodyScore:
        return total_score(list(self.clips.values()))


Sound = Callable[[Clip], np.ndarray]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    limit_threads(options.threads)
    tracks, skipped = load_trackers(options)
    if not tracks:
        sys.exit("none of the trackers is here: " + "; ".join(skipped.values()))
    names = clip_names(options.mir1k, options.singers, options.clips_per_singer, options.exclude)
    print(heading(options, names), flush=True)
    if options.speed:
        measure_speed(tracks, names, options)
        return 0
    results = {}
    for condition in options.conditions:
        chosen = tracks if condition != "song" else song_readers(options)
        results[condition] = run(chosen, names, sound_of(condition, options), options.mir1k)
        print_results(condition, results[condition])
        if options.json:  # after every condition, so that a run that is stopped has said something
            report = report_of(results, skipped, options)
            options.json.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mir1k", type=Path, required=True, help="folder with the clips and labels.npz")
    parser.add_argument("--singers", nargs="+", default=list(TEST_SINGERS), metavar="NAME")
    parser.add_argument("--exclude", nargs="*", default=list(ALSO_TRAINED_ON), metavar="SONG", help="SINGER_SONG")
    parser.add_argument("--clips-per-singer", type=int, metavar="N", help="evenly spaced ones (all)")
    parser.add_argument("--trackers", nargs="+", choices=["ours", *trackers.PEERS], default=["ours", *trackers.PEERS])
    parser.add_argument("--model", nargs="+", default=["melody-cnn"], metavar="REF", help="our networks (melody-cnn)")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--separator", default="ts-bsmamba2-mini", metavar="REF", help="for the condition `separated`")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep separated vocals here, for another run")
    parser.add_argument("--hop-ms", type=float, default=10.0, help="hop of all but swift-f0 (10)")
    parser.add_argument("--smooth", choices=["viterbi", "median", "none"], help="of our networks")
    parser.add_argument("--voicing-threshold", type=float, help="of our networks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of networks (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every clip's scores here")
    parser.add_argument("--speed", action="store_true", help="measure speed instead of quality")
    parser.add_argument("--minutes", type=float, default=3.0, help="of singing for --speed (3)")
    parser.add_argument("--repeats", type=int, default=3, help="for --speed (3)")
    return parser.parse_args(arguments)


def limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def load_trackers(options: argparse.Namespace) -> tuple[dict[str, trackers.Track], dict[str, str]]:
    """Trackers by name, ours under their model references, and why others are left out."""
    settings = settings_of(options)
    names = [model for name in options.trackers for model in (options.model if name == "ours" else [name])]
    tracks, skipped = {}, {}
    for name in names:
        try:
            tracks[name] = trackers.load(name, settings)
        except ImportError as error:
            skipped[name] = f"{name}: {error}"
            print(f"left out: {skipped[name]}", file=sys.stderr)
    return tracks, skipped


def settings_of(options: argparse.Namespace) -> trackers.Settings:
    given = {"smooth": options.smooth, "voicing_threshold": options.voicing_threshold}
    decoding = tuple((name, value) for name, value in given.items() if value is not None)
    return trackers.Settings(options.hop_ms, options.threads, decoding)


def song_readers(options: argparse.Namespace) -> dict[str, trackers.Track]:
    """Our networks, each behind the separator."""
    separator = options.separator if "ours" in options.trackers else None
    return {model: trackers.ours(model, settings_of(options), separator) for model in options.model if separator}


# --- clips


def clip_names(folder: Path, singers: Sequence[str], per_singer: int | None, exclude: Sequence[str] = ()) -> list[str]:
    """Names of the singers' clips but for those of excluded songs; evenly spaced ones where not all are wanted."""
    found = sorted(path.name.removesuffix(".voice.opus") for path in folder.glob("*.voice.opus"))
    found = [name for name in found if "_".join(name.split("_")[:2]) not in exclude]
    chosen = []
    for singer in singers:
        names = [name for name in found if name.split("_")[0] == singer]
        if not names:
            sys.exit(f"{folder}: no clip of {singer}; files are named {singer}_SONG_PART.voice.opus")
        count = min(per_singer or len(names), len(names))
        chosen += [names[round(position)] for position in np.linspace(0, len(names) - 1, count)]
    return chosen


def read_clip(folder: Path, name: str) -> Clip:
    """Read a clip and its labels."""
    voice, accompaniment = (read_sound(folder / f"{name}.{part}.opus") for part in ("voice", "accomp"))
    with np.load(folder / "labels.npz") as labels:
        return Clip(name, voice, accompaniment, true_contour(labels[name]))


def read_sound(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE:
        sys.exit(f"{path}: {rate} Hz; this benchmark takes {RATE} Hz")
    return samples.mean(axis=1)


def true_contour(midi: np.ndarray) -> Contour:
    """Labels (n,) from 20 ms on → a contour from 0 on: the first label holds there too, as mir_eval would have it."""
    semitones = np.concatenate([midi[:1], midi]).astype(np.float64)
    voiced = semitones > 0
    hz = np.where(voiced, 440 * 2 ** ((semitones - 69) / 12), 1.0)
    return Contour(LABEL_HOP, hz, voiced.astype(np.float32), voiced)


# --- conditions


def sound_of(condition: str, options: argparse.Namespace) -> Sound:
    """What trackers hear of a clip in a condition."""
    if condition == "voice":
        return lambda clip: clip.voice
    level = ACCOMPANIMENT_DB[condition]
    if condition == "separated":
        return separated(options.separator, options.cache)
    return lambda clip: mixture(clip, level)


def mixture(clip: Clip, accompaniment_db: float) -> np.ndarray:
    """The voice as it is and the accompaniment at a level relative to it, in RMS over the clip."""
    loudness = rms(clip.accompaniment)
    gain = 10 ** (accompaniment_db / 20) * rms(clip.voice) / loudness if loudness else 0.0
    return (clip.voice + gain * clip.accompaniment).astype(np.float32)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if samples.size else 0.0


def separated(reference: str, cache: Path | None) -> Sound:
    """The vocals that a separator makes of the 0 dB mixture, kept in `cache` under the hash of its weights."""
    from stemsplit import separate
    from stemsplit.weights.model import load_model

    model = load_model(reference, "separate")
    folder = cache / f"separated-{model.sha256[:16]}" if cache else None

    def vocals(clip: Clip) -> np.ndarray:
        kept = folder / f"{clip.name}.npy" if folder else None
        if kept and kept.exists():
            return np.load(kept)
        mixed = mixture(clip, ACCOMPANIMENT_DB["separated"])
        found = separate(mixed, RATE, model=model.network, stems="vocals", device="cpu").stems["vocals"][0]
        if kept:
            save_whole(kept, found)
        return found

    return vocals


def save_whole(path: Path, samples: np.ndarray) -> None:
    """Write an array under another name first, so that a run that is stopped leaves none half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npy")
    np.save(partial, samples)
    partial.replace(path)


# --- scores


def run(tracks: dict[str, trackers.Track], names: Sequence[str], sound: Sound, folder: Path) -> dict[str, Result]:
    """Score all trackers on all clips of one condition, clip by clip."""
    scores: dict[str, dict[str, MelodyScore]] = {name: {} for name in tracks}
    spent, length = dict.fromkeys(tracks, 0.0), 0.0
    for position, clip_name in enumerate(names, start=1):
        clip = read_clip(folder, clip_name)
        samples = sound(clip)
        if position == 1:
            for track in tracks.values():
                track(samples)  # compilers, caches and lazy imports are not what is timed
        length += len(samples) / RATE
        for name, track in tracks.items():
            began = time.process_time()
            contour = track(samples)
            spent[name] += time.process_time() - began
            scores[name][clip_name] = score_melody(clip.truth, contour)
        told = " ".join(f"{name} {percent(clips[clip_name].overall_accuracy)}" for name, clips in scores.items())
        print(f"[{position}/{len(names)}] {clip_name} {told}", file=sys.stderr, flush=True)
    return {name: Result(clips, spent[name] / length) for name, clips in scores.items()}


def heading(options: argparse.Namespace, names: Sequence[str]) -> str:
    import torch

    return (
        f"stemsplit {__version__}, torch {torch.__version__}, {platform.machine()}, {options.threads} threads, "
        f"{len(names)} clips of {', '.join(options.singers)}"
    )


def print_results(condition: str, results: dict[str, Result]) -> None:
    """One table: trackers down; the five means over clips, the totals of two of them, and the time."""
    print(f"\n{condition:32}" + "".join(f"{title:>14}" for title in (*TITLES, "overall, all", "pitch, all", "CPU s/s")))
    for name, result in results.items():
        mean, total = result.mean, result.total
        values = [getattr(mean, figure) for figure in FIGURES] + [total.overall_accuracy, total.raw_pitch_accuracy]
        cells = [*(percent(value) for value in values), f"{result.seconds_per_second:.4f}"]
        print(f"{name[-31:]:32}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f}"


def report_of(
    results: dict[str, dict[str, Result]], skipped: dict[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """Everything as JSON: settings, means, totals, every clip."""
    import torch

    return {
        "stemsplit": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": options.threads,
        "hop_ms": options.hop_ms,
        "separator": options.separator,
        "singers": list(options.singers),
        "skipped": skipped,
        "conditions": {
            condition: {name: _as_json(result) for name, result in by_tracker.items()}
            for condition, by_tracker in results.items()
        },
    }


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "mean": _finite(result.mean),
        "total": _finite(result.total),
        "cpu_seconds_per_second": result.seconds_per_second,
        "clips": {name: _finite(score) for name, score in result.clips.items()},
    }


def _finite(score: MelodyScore) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(score).items()}


# --- speed


Task = Callable[[], tuple[float, float]]
"""Does the work once and returns the seconds it took, by the clock and of CPU."""


def measure_speed(tracks: dict[str, trackers.Track], names: Sequence[str], options: argparse.Namespace) -> None:
    """Print how many times faster than the music plays trackers, our networks alone and our command are."""
    samples = singing(names, options)
    with tempfile.TemporaryDirectory() as folder:
        tasks: dict[str, Task] = {name: in_process(track, samples) for name, track in tracks.items()}
        for model in [name for name in tracks if name not in trackers.PEERS]:
            tasks[f"network alone: {model}"] = in_process(network_alone(model), samples)
            tasks[f"stemsplit melody --vocals: {model}"] = command(model, samples, Path(folder), options.threads)
        taken = take_turns(tasks, options.repeats)
    seconds = len(samples) / RATE
    print(f"\n{seconds:.0f} s of singing, medians of {options.repeats} repeats that take turns")
    print(f"{'':44}{'x real time':>14}{'by CPU time':>14}")
    for name, pairs in taken.items():
        clock, cpu = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"{name[-43:]:44}{seconds / clock:14.1f}{seconds / cpu:14.1f}", flush=True)


def singing(names: Sequence[str], options: argparse.Namespace) -> np.ndarray:
    """Voices one after the other, from the start again if need be."""
    wanted = round(60 * options.minutes * RATE)
    parts: list[np.ndarray] = []
    while sum(len(part) for part in parts) < wanted:
        parts.append(read_clip(options.mir1k, names[len(parts) % len(names)]).voice)
    return np.concatenate(parts)[:wanted]


def take_turns(tasks: dict[str, Task], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of every task and repeat, after one round to warm up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            seconds = task()
            if turn:
                taken[name].append(seconds)
            print(f"[{turn}/{repeats}] {name} {seconds[0]:.2f} s, CPU {seconds[1]:.2f} s", file=sys.stderr, flush=True)
    return taken


def in_process(work: Callable[[np.ndarray], object], samples: np.ndarray) -> Task:
    def task() -> tuple[float, float]:
        clock, cpu = time.perf_counter(), time.process_time()
        work(samples)
        return time.perf_counter() - clock, time.process_time() - cpu

    return task


def network_alone(model: str) -> Callable[[np.ndarray], object]:
    """What the network believes of every frame, without the decoder, in the chunks that `stemsplit melody` uses."""
    from stemsplit import load_melody_network
    from stemsplit.melody.posterior import posteriors

    network = load_melody_network(model, "cpu")

    def work(samples: np.ndarray) -> None:
        for _ in posteriors(network, [samples], device="cpu"):
            pass

    return work


def command(model: str, samples: np.ndarray, folder: Path, threads: int) -> Task:
    """The whole command, from file to file, the start of Python and PyTorch included."""
    song = folder / "song.wav"
    soundfile.write(song, samples, RATE, "FLOAT")
    arguments = ["-m", "stemsplit", "melody", str(song), "--vocals", "-m", model, "-o", str(folder / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def task() -> tuple[float, float]:
        clock = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments, "--force", "-q", "--device", "cpu"], env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"stemsplit {' '.join(arguments[2:])} failed with {os.waitstatus_to_exitcode(status)}")
        return time.perf_counter() - clock, usage.ru_utime + usage.ru_stime

    return task


if __name__ == "__main__":
    sys.exit(main())
