"""Score tempo, beats, key and chords of `stemsplit analyse` on rendered songs, whose truth is known.

    python recipes/render_songs.py … --various --split heldout --per-style 1 --flac --seed 9 --out songs
    python benchmarks/analysis.py songs/heldout [--stems true|separated] [--model REF] [--count N] [--json FILE]

true       the song's own stems: what the analysis itself can do
separated  those that the model makes of the mixture: what a user gets

Printed for every song and as means: whether the tempo is within 4 % (and if half and double count as well), the
F-measure of beats within 70 ms (mir_eval), whether the key is right and its MIREX score (1, a fifth 0.5, relative 0.3,
parallel 0.2), and the share of the time in which the chords are right, by mir_eval's majmin, over all songs. Chords
that are no triads are left out, and times in which nothing but drums, bass and voice plays. Then how sure the analysis
was where it was right, and where it was wrong. Songs without drums or harmony count, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mir_eval
import numpy as np
import soundfile

import stemsplit
from stemsplit.analysis.key import FLATS, MODES, Key
from stemsplit.analysis.song import Analysis, Listener

STEMS = ("drums", "bass", "other", "vocals")
NAMES = {(0, 4, 7): "maj", (0, 3, 7): "min", (0, 4, 7, 10): "7", (0, 4, 7, 11): "maj7", (0, 3, 7, 10): "min7",
         (0, 5, 7): "sus4", (0, 7, 12): "5", (0, 3, 6, 10): "hdim7", (0, 4, 7, 10, 14): "9",
         (0, 4, 7, 14): "maj(9)"}  # fmt: skip
UNHEARD = "X"
NEAR = 0.04


@dataclass(frozen=True)
class Score:
    """What was found in one song, beside what is there. Chords: seconds that are right, and that count."""

    song: str
    bpm: float
    found_bpm: float
    tempo: bool
    tempo_octave: bool
    tempo_confidence: float
    beats: float
    key: bool
    key_score: float
    key_confidence: float
    chords_right: float
    chords_seconds: float
    chords_confidence: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    folders = sorted(path.parent for path in options.songs.glob("*/song.json"))[: options.count]
    if not folders:
        print(f"{options.songs}: no songs with a song.json", file=sys.stderr)
        return 1
    network = stemsplit.load_network(options.model) if options.stems == "separated" else None
    scores = []
    for folder in folders:
        scores.append(score(folder.name, json.loads((folder / "song.json").read_text()), heard(folder, network)))
        print(line(scores[-1]), flush=True)
    print(summary(scores))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in scores], indent=1) + "\n")
    return 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs", type=Path, help="folder of songs as recipes/render_songs.py --flac writes them")
    parser.add_argument("--stems", choices=("true", "separated"), default="true")
    parser.add_argument("--model", default=stemsplit.DEFAULT_MODEL, metavar="REF")
    parser.add_argument("--count", type=int, metavar="N", help="the first songs only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores")
    return parser.parse_args(arguments)


def heard(folder: Path, network: Any) -> Analysis:
    sounds = [soundfile.read(folder / f"{stem}.flac", dtype="float32", always_2d=True) for stem in STEMS]
    rate, stems = sounds[0][1], np.stack([samples.T for samples, _ in sounds])
    if network is not None:
        return stemsplit.analyse(stems.sum(0), rate, model=network)
    listener = Listener(STEMS, rate)
    listener.add(stems)
    return listener.analysis()


def score(name: str, truth: dict[str, Any], found: Analysis) -> Score:
    ratio = found.beat.tempo.bpm / truth["tempo"]
    beats = np.arange(0, truth["seconds"] - 1.5, 60 / truth["tempo"])
    right, seconds = chord_seconds(truth, found)
    key_score = score_key(truth["key"], truth["mode"], found.key)
    return Score(
        name, truth["tempo"], found.beat.tempo.bpm,
        abs(ratio - 1) <= NEAR, any(abs(ratio / by - 1) <= NEAR for by in (0.5, 1, 2)), found.beat.confidence,
        float(mir_eval.beat.f_measure(beats, found.beats)) if len(found.beats) else 0.0,
        key_score == 1, key_score, found.key.confidence, right, seconds, found.chords_confidence,
    )  # fmt: skip


def score_key(tonic: int, mode: str, found: Key) -> float:
    def named(tonic: int, mode: str) -> str:
        return f"{FLATS[tonic]} {mode}"

    assert found.mode in MODES
    return float(mir_eval.key.weighted_score(named(tonic, mode), named(found.tonic, found.mode)))


def chord_seconds(truth: dict[str, Any], found: Analysis) -> tuple[float, float]:
    there = true_chords(truth)
    edges = np.array([[start, end] for start, end, _ in there])
    ours = np.array([[chord.start, chord.end] for chord in found.chords])
    labels = [chord.label(found.key) for chord in found.chords]
    ours, labels = mir_eval.util.adjust_intervals(ours, labels, edges.min(), edges.max(), "N", "N")
    pieces, true, said = mir_eval.util.merge_labeled_intervals(edges, [label for _, _, label in there], ours, labels)
    lasts = mir_eval.util.intervals_to_durations(pieces)
    counted = [i for i, label in enumerate(true) if label != UNHEARD]
    if not counted:
        return 0.0, 0.0
    right = mir_eval.chord.majmin([true[i] for i in counted], [said[i] for i in counted])
    lasts = lasts[counted] * (right >= 0)
    return float((right * lasts).sum()), float(lasts.sum())


def true_chords(truth: dict[str, Any]) -> list[tuple[float, float, str]]:
    """Start, end and label of every chord; those that no instrument plays are unheard."""
    heard = [
        (start, start + lasts) for start, lasts, parts in truth["sections"] if any("other" in part for part in parts)
    ]
    ordered = sorted(truth["chords"])
    found = []
    for (start, lasts, root, intervals), after in zip(ordered, [*ordered[1:], None], strict=True):
        end = start + lasts if after is None else after[0]
        sounds = any(a - 1e-3 <= start < b - 1e-3 for a, b in heard)
        if end > start:
            found.append((start, end, f"{FLATS[root]}:{NAMES[tuple(intervals)]}" if sounds else UNHEARD))
    return found


def line(one: Score) -> str:
    chords = f"{one.chords_right / one.chords_seconds:4.2f}" if one.chords_seconds else "   -"
    return (
        f"{one.song:<18} {one.bpm:6.1f} → {one.found_bpm:6.1f} ({one.tempo_confidence:4.2f})  beats {one.beats:4.2f}  "
        f"key {one.key_score:3.1f} ({one.key_confidence:4.2f})  chords {chords} ({one.chords_confidence:4.2f})"
    )


def summary(scores: Sequence[Score]) -> str:
    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in scores]))

    def sure(right: str, confidence: str) -> str:
        def of(wanted: bool) -> str:
            values = [getattr(one, confidence) for one in scores if bool(getattr(one, right)) == wanted]
            return f"{np.mean(values):.2f}" if values else "-"

        return f"mean confidence {of(True)} where right, {of(False)} where wrong"

    seconds = sum(one.chords_seconds for one in scores)
    chords = sum(one.chords_right for one in scores) / seconds if seconds else 0.0
    return "\n".join([
        f"{len(scores)} songs",
        f"tempo   {mean('tempo'):.2f} right, {mean('tempo_octave'):.2f} with half and double; "
        + sure("tempo", "tempo_confidence"),
        f"beats   F-measure {mean('beats'):.2f}",
        f"key     {mean('key'):.2f} right, MIREX score {mean('key_score'):.2f}; " + sure("key", "key_confidence"),
        f"chords  {chords:.2f} of {seconds / 60:.0f} min right; mean confidence {mean('chords_confidence'):.2f}",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
