"""The figures of the stems of one song, which is read second by second, and averages over songs.

The SDR of a song is that of all its samples. Its cSDR is the median of the SDR of its seconds (Stöter et al. 2018,
SiSEC). If the true stem is silent, no SDR is defined. Then the leakage is given, the energy of the estimate relative to
that of the mixture.

What the literature calls uSDR is the mean of the SDR over songs. What it calls the cSDR of a data set is the median
over songs of the cSDR.

museval's SDR (BSSEval v4) does not depend on its distortion filters, which only divide the error into ISR, SIR and SAR.
So the SDR of a second is a plain ratio of sums, and museval is not needed. Two rules are those of museval: a second in
which any true or estimated stem is silent is left out for all stems, and so is the end of the song if it is shorter
than a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from stemsplit.errors import UsageError
from stemsplit.evaluation.sdr import Energies, decibels, measure


@dataclass(frozen=True)
class StemScore:
    """The figures of one stem in dB. If the true stem is silent, only the leakage is defined; otherwise all others."""

    stem: str
    sdr_db: float | None
    si_sdr_db: float | None
    si_sdr_improvement_db: float | None  # over the SI-SDR that the mixture has as an estimate
    leakage_db: float | None  # energy of the estimate relative to that of the mixture
    csdr_db: float | None = None  # median of the SDR over seconds


@dataclass(frozen=True)
class SongScore:
    """The scores of all stems of one song."""

    song: str
    stems: tuple[StemScore, ...]


def score_stems(
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    mixture: np.ndarray | None = None,
    sample_rate: int | None = None,
) -> tuple[StemScore, ...]:
    """Score the stems that are in both mappings.

    Args:
        references: stem → true samples (channels, samples).
        estimates: stem → estimated samples (channels, samples).
        mixture: (channels, samples); by default the sum of all references.
        sample_rate: Hz; without it there is no cSDR.
    """
    stems = tuple(stem for stem in references if stem in estimates)
    if mixture is None:
        mixture = np.sum(list(references.values()), axis=0)
    if sample_rate is None:
        return tuple(
            score(stem, measure(references[stem], estimates[stem]), measure(references[stem], mixture), None)
            for stem in stems
        )
    parts = (
        Part(
            {stem: references[stem][:, start : start + sample_rate] for stem in stems},
            {stem: estimates[stem][:, start : start + sample_rate] for stem in stems},
            mixture[:, start : start + sample_rate],
        )
        for start in range(0, mixture.shape[1], sample_rate)
    )
    return score_parts(parts)


def score(stem: str, estimated: Energies, unseparated: Energies, csdr_db: float | None) -> StemScore:
    """Return the figures of a stem.

    Args:
        stem: its name.
        estimated: the sums over reference and estimate.
        unseparated: the sums over reference and mixture.
        csdr_db: its cSDR, if known.
    """
    if estimated.silent:
        return StemScore(stem, None, None, None, decibels(estimated.estimate, unseparated.estimate))
    improvement = estimated.si_sdr_db - unseparated.si_sdr_db
    return StemScore(stem, estimated.sdr_db, estimated.si_sdr_db, improvement, None, csdr_db)


# --- seconds


class Part(NamedTuple):
    """A second of a song, or the rest at its end."""

    references: Mapping[str, np.ndarray]  # stem → (channels, n)
    estimates: Mapping[str, np.ndarray]  # stem → (channels, n)
    mixture: np.ndarray  # (channels, n)


class Frame(NamedTuple):
    """What the cSDR needs of one second."""

    sdr_db: Mapping[str, float]  # by stem
    silent: frozenset[str]  # the stems of which the reference or the estimate is silent


FrameSDR = Callable[[Part], Mapping[str, float]]
"""Returns the SDR in dB of each stem of a part that is not silent."""


def score_parts(parts: Iterable[Part], frame_sdr: FrameSDR | None = None) -> tuple[StemScore, ...]:
    """Score a song.

    Args:
        parts: its seconds; only the last may be shorter.
        frame_sdr: computes the SDR of a second for the cSDR; by default that of `sdr`.
    """
    estimated: dict[str, Energies] = {}
    unseparated: dict[str, Energies] = {}
    frames: list[Frame] = []
    second = 0
    for part in parts:
        second = second or part.mixture.shape[1]
        found = {stem: measure(part.references[stem], estimate) for stem, estimate in part.estimates.items()}
        for stem, energies in found.items():
            estimated[stem] = estimated.get(stem, Energies()) + energies
            mixed = measure(part.references[stem], part.mixture)
            unseparated[stem] = unseparated.get(stem, Energies()) + mixed
        if part.mixture.shape[1] == second:
            silent = frozenset(stem for stem in found if _hushed(part, stem))
            own = {stem: energies.sdr_db for stem, energies in found.items()}
            frames.append(Frame(own if frame_sdr is None else frame_sdr(part), silent))
    medians = csdr(frames)
    return tuple(score(stem, estimated[stem], unseparated[stem], medians[stem]) for stem in estimated)


def _hushed(part: Part, stem: str) -> bool:
    """Return whether a stem is silent as museval defines it: its channels add up to 0 at every sample."""
    return any(not kind[stem].sum(axis=0, dtype=np.float64).any() for kind in (part.references, part.estimates))


def csdr(frames: Sequence[Frame]) -> dict[str, float | None]:
    """Return the cSDR of each stem: the median over the frames in which no stem is silent.

    A stem that is silent in all frames has no cSDR, and does not exclude frames for others. A perfect frame has an
    infinite SDR. (In museval, rounding errors make it about 350 dB, which is also above all others.)
    """
    stems = {stem for frame in frames for stem in (*frame.sdr_db, *frame.silent)}
    always = {stem for stem in stems if all(stem in frame.silent for frame in frames)}
    whole = [frame for frame in frames if frame.silent <= always]
    values = {stem: [frame.sdr_db[stem] for frame in whole if stem in frame.sdr_db] for stem in stems - always}
    return {stem: _median(values.get(stem, ())) for stem in stems}


def museval_frame_sdr() -> FrameSDR:
    """Return a function that computes the SDR of a second by museval, to compare with ours.

    Its distortion filters have one tap: that is fast, and the SDR does not depend on them.

    Raises:
        UsageError: museval is not installed.
    """
    bss_eval = museval_metrics().bss_eval

    def frame_sdr(part: Part) -> dict[str, float]:
        stems = [stem for stem in part.estimates if not _hushed(part, stem)]
        if not stems:
            return {}
        true, mine = (np.stack([kind[stem].T for stem in stems]) for kind in (part.references, part.estimates))
        samples = true.shape[1]
        sdr_db = bss_eval(true.astype(float), mine.astype(float), window=samples, hop=samples, filters_len=1)[0]
        return dict(zip(stems, sdr_db[:, 0].tolist(), strict=True))

    return frame_sdr


def museval_metrics() -> ModuleType:
    """Import only the module of museval that computes scores. The whole package would need ffmpeg to read files.

    Raises:
        UsageError: museval is not installed.
    """
    package = find_spec("museval")
    if package is None or not package.submodule_search_locations:
        raise UsageError("--museval needs museval: pip install 'stemsplit-mamba[eval]'")
    path = Path(package.submodule_search_locations[0]) / "metrics.py"
    spec = spec_from_file_location("museval_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        raise UsageError(f"museval cannot be used ({error}): pip install 'stemsplit-mamba[eval]'") from error
    return module


# --- songs


def median_scores(songs: Iterable[SongScore]) -> tuple[StemScore, ...]:
    """Return for each stem the median over songs of every figure; None for figures that no song has."""
    return _over_songs(songs, _median)


def mean_scores(songs: Iterable[SongScore]) -> tuple[StemScore, ...]:
    """Return for each stem the mean over songs of every figure; None for figures that no song has."""
    return _over_songs(songs, _mean)


def _over_songs(
    songs: Iterable[SongScore], average: Callable[[Sequence[float | None]], float | None]
) -> tuple[StemScore, ...]:
    by_stem: dict[str, list[StemScore]] = {}
    for song in songs:
        for stem_score in song.stems:
            by_stem.setdefault(stem_score.stem, []).append(stem_score)
    names = [f.name for f in fields(StemScore) if f.name != "stem"]
    return tuple(
        StemScore(stem, **{name: average([getattr(s, name) for s in scores]) for name in names})
        for stem, scores in by_stem.items()
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
    return low if low == high else (low + high) / 2  # two infinities of one sign are equal and need no mean


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
