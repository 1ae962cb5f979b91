"""How close an estimated melody is to the true one: the five figures of MIREX, computed by mir_eval.

Poliner et al. 2007 (IEEE TASLP 15(4)) define them, Salamon et al. 2014 (IEEE SPM 31(2)) explain them. A pitch is right
within 50 cents. All are fractions from 0 to 1, taken on the reference's own frames:

    overall accuracy      of all frames: sung ones whose pitch is right and decision too, and silent ones kept silent
    raw pitch accuracy    of the sung frames: those whose pitch, or guess, is right
    raw chroma accuracy   the same, octave errors forgiven
    voicing recall        of the sung frames: those taken for sung
    voicing false alarm   of the silent frames: those taken for sung

Where a reference has no sung frame, or no silent one, the figures over these are nan and stay out of means.
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
"""What follows a track's name in the files of contours: ours and those of other trackers, longest first."""
NO_CONTOURS = (".notes.csv", "readme.txt", "license.txt")
FIGURES = (
    "overall_accuracy", "raw_pitch_accuracy", "raw_chroma_accuracy", "voicing_recall", "voicing_false_alarm",
)  # fmt: skip


@dataclass(frozen=True)
class MelodyScore:
    """The five figures as fractions, and how many frames of the reference they rest on, how many of them sung."""

    overall_accuracy: float
    raw_pitch_accuracy: float
    raw_chroma_accuracy: float
    voicing_recall: float
    voicing_false_alarm: float
    frames: int
    voiced_frames: int


@dataclass(frozen=True)
class TrackScore:
    """One track's score."""

    track: str
    score: MelodyScore


@dataclass(frozen=True)
class MelodyEvaluation:
    """Every track that could be scored, by name, and the references that had no estimate."""

    tracks: tuple[TrackScore, ...]
    missing: tuple[str, ...] = ()


# --- contours


def score_melody(reference: Contour, estimate: Contour) -> MelodyScore:
    """Score an estimate against the truth, at the reference's frames.

    The estimate is brought there as mir_eval does it, linearly in cents, so hops need not be equal. Where it ends
    early it counts as silent and without a guess: mir_eval alone would hold its last frame for the rest.

    Raises:
        UsageError: the reference has no frame, or mir_eval is not installed.
    """
    if not len(reference):
        raise UsageError("a reference without a single frame: nothing can be scored against it")
    melody = _mir_eval_melody()
    true = np.where(reference.voiced, reference.frequency, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is sung, in one or the other, is no mistake
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
    """The mean over tracks, each counting the same, as MIREX reports it; frames are summed up."""
    return _average(scores, {name: [1.0] * len(scores) for name in FIGURES})


def total_score(scores: Sequence[MelodyScore]) -> MelodyScore:
    """As if all tracks were one: each counts by its frames, by those sung, or by those silent."""
    frames = [float(score.frames) for score in scores]
    sung = [float(score.voiced_frames) for score in scores]
    silent = [score.frames - score.voiced_frames + 0.0 for score in scores]
    return _average(scores, dict(zip(FIGURES, (frames, sung, sung, sung, silent), strict=True)))


def _average(scores: Sequence[MelodyScore], weights: dict[str, list[float]]) -> MelodyScore:
    """Weighted means of the figures that are defined; nan where none is."""
    means = {}
    for name in FIGURES:
        known = [(getattr(s, name), w) for s, w in zip(scores, weights[name], strict=True)]
        known = [(value, weight) for value, weight in known if not math.isnan(value)]
        total = math.fsum(weight for _, weight in known)
        means[name] = math.fsum(value * weight for value, weight in known) / total if total else math.nan
    frames, sung = sum(score.frames for score in scores), sum(score.voiced_frames for score in scores)
    return MelodyScore(**means, frames=frames, voiced_frames=sung)


def _signed(contour: Contour, until: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and Hz as mir_eval wants an estimate: below 0 is a guess in a silent frame, 0 is no guess."""
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
    return mir_eval.melody


# --- files


def evaluate_melodies(reference: Path, estimate: Path) -> MelodyEvaluation:
    """Score contour files: one with one, or two folders whose files have the same names up to their `SUFFIXES`.

    Folders are searched to any depth. A file beside a folder is compared with the file of its name in it.

    Raises:
        UsageError: a path is missing or holds no contour, two files are of one track, or no track is in both.
        AudioError: a file that is no contour, as `read_contour`.
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
    """Track → file of a folder's contours, by name; a file is the only one. Raises UsageError."""
    if path.is_dir():
        return _folder_files(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder; give contours, such as song.f0.csv, or folders of them")
    if is_audio(path):
        raise UsageError(f"{path}: audio, not a contour; `stemsplit melody` writes one from it")
    return {track_name(path.name): path}


def track_name(name: str) -> str:
    """A file's name without what `SUFFIXES` list."""
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
