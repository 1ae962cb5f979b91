"""Talk of several people, true and estimated → scores, where nobody knows which estimate is whose.

Of all ways to give each true speaker an estimate of his own, the one with the highest sum of SI-SDRs counts (Hershey et
al. 2016). It holds for the whole recording: who changes places half-way is counted as wrong from there on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from stemsplit.errors import AudioError, UsageError
from stemsplit.evaluation.folders import MIXTURE_NAMES, SongFolder, estimate_files, find_songs
from stemsplit.evaluation.scores import StemScore, score
from stemsplit.evaluation.sdr import Energies, measure
from stemsplit.evaluation.songs import Key, seconds_together

WORST_DB = -100.0
"""What an SI-SDR that is undefined or endless counts where orders are compared."""


@dataclass(frozen=True)
class SpeakerScore:
    """The figures of a true speaker, and the name of the estimate that they are of."""

    estimate: str
    figures: StemScore


@dataclass(frozen=True)
class TalkScore:
    """The scores of all speakers of one recording."""

    talk: str
    speakers: tuple[SpeakerScore, ...]


class Sums(NamedTuple):
    """The energies of a recording, or of a part of it, which add up."""

    estimated: tuple[tuple[Energies, ...], ...]  # [reference][estimate]
    unseparated: tuple[Energies, ...]  # [reference], of the mixture as its estimate

    def plus(self, other: Sums) -> Sums:
        """Return the sums over both parts."""
        pairs = zip(self.estimated, other.estimated, strict=True)
        estimated = tuple(tuple(a + b for a, b in zip(*rows, strict=True)) for rows in pairs)
        unseparated = tuple(a + b for a, b in zip(self.unseparated, other.unseparated, strict=True))
        return Sums(estimated, unseparated)


def evaluate_speakers(reference: Path, estimate: Path) -> tuple[list[TalkScore], tuple[str, ...]]:
    """Score the recordings in two folders, each a folder of speakers or a folder of such folders.

    What the files of the estimates are called does not matter. A `mixture` beside the references is what improvements
    are measured against, else their sum is.

    Returns:
        The scores, and the recordings without an estimate.

    Raises:
        UsageError: a folder is missing, or there is nothing to compare.
        AudioError: there are fewer estimates than speakers, or files differ in rate, channels or length.
    """
    for folder in (reference, estimate):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; give a folder of speakers, or one with a folder per recording")
    talks = find_songs(reference)
    found = {talk.name: _estimates(estimate, talk, alone=talk.path == reference) for talk in talks}
    missing = tuple(name for name, files in found.items() if not files)
    if len(missing) == len(talks):
        raise UsageError(f"{estimate} has no estimates of what is in {reference}: folders must have the same names")
    return [evaluate_talk(talk, found[talk.name]) for talk in talks if found[talk.name]], missing


def _estimates(folder: Path, talk: SongFolder, *, alone: bool) -> dict[str, Path]:
    files = estimate_files(folder, talk, alone=alone)
    return {name: path for name, path in files.items() if name not in MIXTURE_NAMES}


def evaluate_talk(talk: SongFolder, estimates: Mapping[str, Path]) -> TalkScore:
    """Score the files of one recording in one pass, second by second. Raises: AudioError."""
    if len(estimates) < len(talk.stems):
        raise AudioError(f"{talk.path}: {len(talk.stems)} speakers, but {len(estimates)} estimates: one each is needed")
    true: dict[Key, Path] = {("true", name): path for name, path in talk.stems.items()}
    paths = true | {("estimate", name): path for name, path in estimates.items()}
    if talk.mixture is not None:
        paths["mixture", ""] = talk.mixture
    total: Sums | None = None
    for block in seconds_together(paths):
        references = [block[key] for key in true]
        mixture = block["mixture", ""] if talk.mixture else np.sum(references, axis=0)
        part = sums_of(references, [block["estimate", name] for name in estimates], mixture)
        total = part if total is None else total.plus(part)
    if total is None:
        raise AudioError(f"{talk.path}: no samples in it")
    return TalkScore(talk.name, scores_of(total, list(talk.stems), list(estimates)))


def score_speakers(
    references: Mapping[str, np.ndarray], estimates: Mapping[str, np.ndarray], mixture: np.ndarray | None = None
) -> tuple[SpeakerScore, ...]:
    """Score arrays (channels, samples) by name; the mixture is by default the sum of the references."""
    known = list(references.values())
    mixture = np.sum(known, axis=0) if mixture is None else mixture
    return scores_of(sums_of(known, list(estimates.values()), mixture), list(references), list(estimates))


def sums_of(references: Sequence[np.ndarray], estimates: Sequence[np.ndarray], mixture: np.ndarray) -> Sums:
    """Return the energies of references, estimates and their mixture (channels, n)."""
    estimated = tuple(tuple(measure(true, found) for found in estimates) for true in references)
    return Sums(estimated, tuple(measure(true, mixture) for true in references))


def scores_of(sums: Sums, references: Sequence[str], estimates: Sequence[str]) -> tuple[SpeakerScore, ...]:
    """Return the figures of every reference in the best order of the estimates."""
    order = best_order(sums.estimated)
    return tuple(
        SpeakerScore(estimates[chosen], score(name, row[chosen], unseparated, None))
        for name, row, unseparated, chosen in zip(references, sums.estimated, sums.unseparated, order, strict=True)
    )


def best_order(estimated: Sequence[Sequence[Energies]]) -> tuple[int, ...]:
    """Return which estimate each reference is given. A silent one is given the quietest of what is left."""
    gains = [[_worth(energies) for energies in row] for row in estimated]
    orders = permutations(range(len(gains[0])), len(gains))
    return max(orders, key=lambda order: sum(row[chosen] for row, chosen in zip(gains, order, strict=True)))


def _worth(energies: Energies) -> float:
    if energies.silent:
        return -10 * math.log10(max(energies.estimate, 1e-10)) / 100  # so little that it only decides between others
    value = energies.si_sdr_db
    return WORST_DB if math.isnan(value) else min(max(value, WORST_DB), -WORST_DB)


def medians(talks: Iterable[TalkScore]) -> dict[str, float | None]:
    """Return the median over all speakers of every figure in dB; None for those that nobody has."""
    scores = [speaker.figures for talk in talks for speaker in talk.speakers]
    found = {}
    for name in ("si_sdr_db", "si_sdr_improvement_db", "sdr_db", "leakage_db"):
        values = [value for one in scores if (value := getattr(one, name)) is not None]
        found[name] = median(values) if values else None
    return found
