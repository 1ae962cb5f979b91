"""How close an estimated melody is to the true one: the five figures of MIREX, computed by mir_eval.

Poliner et al. 2007 (IEEE TASLP 15(4)) define them, Salamon et al. 2014 (IEEE SPM 31(2)) explain them. A pitch is right
if it is within 50 cents. All figures are fractions from 0 to 1, of the frames of the reference:

    overall accuracy      of all frames: sung frames found to be sung, with the right pitch, and unsung frames found to
                          be unsung
    raw pitch accuracy    of the sung frames: those whose pitch is right, or whose guess is, if they were found unsung
    raw chroma accuracy   the same, but the octave may be wrong
    voicing recall        of the sung frames: those found to be sung
    voicing false alarm   of the unsung frames: those found to be sung

If a reference has no sung frames, or no unsung ones, the figures about these are nan, and means leave them out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from stemsplit.audio import is_audio
from stemsplit.errors import UsageError
from stemsplit.melody.contour import Contour
from stemsplit.melody.formats import read_contour

SUFFIXES = (".f0.sv.csv", ".f0.csv", ".f0.txt", ".f0.tsv", ".sv.csv", ".csv", ".txt", ".tsv", ".f0")
"""Endings of files of contours, ours and those of other pitch trackers; the longest first."""
NO_CONTOURS = (".notes.csv", "readme.txt", "license.txt")
FIGURES = (
    "overall_accuracy", "raw_pitch_accuracy", "raw_chroma_accuracy", "voicing_recall", "voicing_false_alarm",
)  # fmt: skip


@dataclass(frozen=True)
class MelodyScore:
    """The five figures as fractions, and the numbers of frames and of sung frames in the reference."""

    overall_accuracy: float
    raw_pitch_accuracy: float
    raw_chroma_accuracy: float
    voicing_recall: float
    voicing_false_alarm: float
    frames: int
    voiced_frames: int


@dataclass(frozen=True)
class TrackScore:
    """The score of one track."""

    track: str
    score: MelodyScore


@dataclass(frozen=True)
class MelodyEvaluation:
    """The tracks that were scored, and the names of the references without an estimate."""

    tracks: tuple[TrackScore, ...]
    missing: tuple[str, ...] = ()


# --- contours


def score_melody(reference: Contour, estimate: Contour) -> MelodyScore:
    """Score an estimate against the true melody, at the frames of the reference.

    The two may have different hops: mir_eval interpolates the estimate linearly in cents. After the end of an estimate
    that is too short, nothing counts as sung and there is no guess. (mir_eval itself would repeat the last frame.)

    Raises:
        UsageError: the reference has no frames, or mir_eval is not installed.
    """
    if not len(reference):
        raise UsageError("a reference without a single frame: nothing can be scored against it")
    melody = _mir_eval_melody()
    true = np.where(reference.voiced, reference.frequency, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval warns if nothing is sung, but that is no mistake
        found = melody.evaluate(reference.times, true, *_signed(estimate, until=float(reference.times[-1])))
    sung = int(reference.voiced.sum())
    pitch, chroma, recall = (
        float(found[name]) if sung else math.nan
        for name in ("Raw Pitch Accuracy", "Raw Chroma Accuracy", "Voicing Recall")
    )
    false_alarm = float(found["Voicing False Alarm"]) if sung < len(reference) else math.nan
    overall = float(found["Overall Accuracy"])
    return MelodyScore(overall, pitch, chroma, recall, false_alarm, frames=len(reference), voiced_frames=sung)


def mean_score(scores: Sequence[MelodyScore]) -> MelodyScore:
    """Return the mean over tracks, with equal weights, as MIREX reports it. Numbers of frames are added up."""
    return _average(scores, {name: [1.0] * len(scores) for name in FIGURES})


def total_score(scores: Sequence[MelodyScore]) -> MelodyScore:
    """Return the score as if all tracks were one: each figure weights a track by the frames that it is taken over."""
    frames = [float(score.frames) for score in scores]
    sung = [float(score.voiced_frames) for score in scores]
    silent = [score.frames - score.voiced_frames + 0.0 for score in scores]
    return _average(scores, dict(zip(FIGURES, (frames, sung, sung, sung, silent), strict=True)))


def _average(scores: Sequence[MelodyScore], weights: dict[str, list[float]]) -> MelodyScore:
    """Return the weighted mean of each figure over the scores in which it is not nan; nan if there are none."""
    means = {}
    for name in FIGURES:
        known = [(getattr(s, name), w) for s, w in zip(scores, weights[name], strict=True)]
        known = [(value, weight) for value, weight in known if not math.isnan(value)]
        total = math.fsum(weight for _, weight in known)
        means[name] = math.fsum(value * weight for value, weight in known) / total if total else math.nan
    frames, sung = sum(score.frames for score in scores), sum(score.voiced_frames for score in scores)
    return MelodyScore(**means, frames=frames, voiced_frames=sung)


def _signed(contour: Contour, until: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times and Hz as mir_eval needs them: below 0 for a guess in an unsung frame, 0 for no guess."""
    times, hz = contour.times, np.where(contour.voiced, contour.frequency, -contour.frequency)
    end = len(contour) * contour.hop
    if len(contour) == 0 or end < until - 1e-9:
        return np.append(times, end), np.append(hz, 0.0)
    return times, hz


def _mir_eval_melody() -> ModuleType:
    try:
        import mir_eval.melody
    except ImportError as error:
        raise UsageError(
            f"melodies are scored by mir_eval, which is not here ({error}); pip install 'stemsplit-mamba[eval]'"
        ) from error
    module: ModuleType = mir_eval.melody
    return module


# --- files


def evaluate_melodies(reference: Path, estimate: Path) -> MelodyEvaluation:
    """Score files of contours: a file against a file, or a folder against a folder.

    In folders, at any depth, files belong together if their names are the same without the endings in `SUFFIXES`. If
    one path is a file and the other a folder, the file is compared with that of the same name in the folder.

    Raises:
        UsageError: a path is missing or holds no contour, two files are of the same track, or no track is in both.
        AudioError: a file is not a contour, see `read_contour`.
    """
    references, estimates = contour_files(reference), contour_files(estimate)
    if reference.is_file() and estimate.is_file():
        estimates = dict(zip(references, estimates.values(), strict=True))
    if not references.keys() & estimates.keys():
        raise UsageError(
            f"{reference} and {estimate} have no track in common: files are matched by name, "
            f"as in {next(iter(references))}.csv with {next(iter(references))}.f0.csv"
        )
    scores = [
        TrackScore(track, _score_files(path, estimates[track]))
        for track, path in references.items()
        if track in estimates
    ]
    return MelodyEvaluation(tuple(scores), tuple(track for track in references if track not in estimates))


def contour_files(path: Path) -> dict[str, Path]:
    """Return the contours in a folder, or the one that is `path` itself: track → file.

    Raises:
        UsageError: there is no such path, or no contour.
    """
    if path.is_dir():
        return _folder_files(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder; give contours, such as song.f0.csv, or folders of them")
    if is_audio(path):
        raise UsageError(f"{path}: audio, not a contour; `stemsplit melody` writes one from it")
    return {track_name(path.name): path}


def track_name(name: str) -> str:
    """Return the name of a file without its ending, if `SUFFIXES` lists that."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix) and len(name) > len(suffix)), "")
    return name[: len(name) - len(suffix)]


def _folder_files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if _is_contour(path)):
        inside = path.relative_to(folder)
        track = inside.with_name(track_name(inside.name)).as_posix()
        if track in files:
            raise UsageError(f"{folder}: {files[track].name} and {path.name} are of one track; keep one of them here")
        files[track] = path
    if not files:
        stems = any(path.is_file() and is_audio(path) for path in folder.rglob("*"))
        hint = "it holds audio: stems are scored without --melody" if stems else "`stemsplit melody` writes some"
        raise UsageError(f"{folder}: no contours in it, such as song.f0.csv; {hint}")
    return files


def _is_contour(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(SUFFIXES) and not name.startswith(".") and not name.endswith(NO_CONTOURS) and path.is_file()


def _score_files(reference: Path, estimate: Path) -> MelodyScore:
    true = read_contour(reference)
    if not len(true):
        raise UsageError(f"{reference}: holds no frame to score against")
    return score_melody(true, read_contour(estimate))
