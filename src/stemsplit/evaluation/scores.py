"""The figures of a song's stems, second by second, and those of many songs together.

cSDR is the median over seconds of their SDR (Stöter et al. 2018, SiSEC; museval's SDR). Where the reference is silent
no SDR is defined: the estimate's energy against the mixture's is given instead, as leakage.

What the literature calls uSDR is the mean of the SDR over songs; its cSDR is the median over songs of ours. museval's
SDR (BSSEval v4) does not depend on its distortion filters, which only share the error out among ISR, SIR and SAR: the
frames are plain ratios of sums, and museval is not needed for them. As in museval, a frame in which a stem or an
estimate is silent counts for no stem, and what is left at the end of the song and is no whole second is left out.
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
    """The figures of one stem in dB: only the leakage where the reference is silent, elsewhere all but it."""

    stem: str
    sdr_db: float | None
    si_sdr_db: float | None
    si_sdr_improvement_db: float | None  # over taking the mixture as the estimate
    leakage_db: float | None  # energy of the estimate over that of the mixture
    csdr_db: float | None = None  # median over seconds


@dataclass(frozen=True)
class SongScore:
    """All stems of one song."""

    song: str
    stems: tuple[StemScore, ...]


def score_stems(
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    mixture: np.ndarray | None = None,
    sample_rate: int | None = None,
) -> tuple[StemScore, ...]:
    """Score the stems that both have, (channels, samples); the mixture is the references' sum by default.

    cSDR needs the `sample_rate` in Hz.
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
    """The figures of a stem from its estimate's sums and from those with the mixture as the estimate."""
    if estimated.silent:
        return StemScore(stem, None, None, None, decibels(estimated.estimate, unseparated.estimate))
    improvement = estimated.si_sdr_db - unseparated.si_sdr_db
    return StemScore(stem, estimated.sdr_db, estimated.si_sdr_db, improvement, None, csdr_db)


# --- seconds


class Part(NamedTuple):
    """As much of a song as is compared at once, a second: stem → (channels, n), and the mixture (channels, n)."""

    references: Mapping[str, np.ndarray]
    estimates: Mapping[str, np.ndarray]
    mixture: np.ndarray


class Frame(NamedTuple):
    """One second for cSDR: the SDR of each stem in dB, and the stems that are silent in it, true or estimated."""

    sdr_db: Mapping[str, float]
    silent: frozenset[str]


FrameSDR = Callable[[Part], Mapping[str, float]]
"""The SDR in dB of each stem of a part, of those that are not silent."""


def score_parts(parts: Iterable[Part], frame_sdr: FrameSDR | None = None) -> tuple[StemScore, ...]:
    """Score a song second by second; only its last part may be shorter. `frame_sdr`: another's figures for cSDR."""
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
    """Silence as museval has it: the channels cancel out at every sample."""
    return any(not kind[stem].sum(axis=0, dtype=np.float64).any() for kind in (part.references, part.estimates))


def csdr(frames: Sequence[Frame]) -> dict[str, float | None]:
    """Per stem the median over the frames in which no stem is silent; a stem that always is does not count.

    A perfect frame is infinitely good; in museval rounding leaves it some 350 dB, above any other too.
    """
    stems = {stem for frame in frames for stem in (*frame.sdr_db, *frame.silent)}
    always = {stem for stem in stems if all(stem in frame.silent for frame in frames)}
    whole = [frame for frame in frames if frame.silent <= always]
    values = {stem: [frame.sdr_db[stem] for frame in whole if stem in frame.sdr_db] for stem in stems - always}
    return {stem: _median(values.get(stem, ())) for stem in stems}


def museval_frame_sdr() -> FrameSDR:
    """museval's own SDR of a second, to compare with; filters of one tap, which do not touch the SDR and are quick.

    Raises: UsageError where museval is not installed.
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
    """The module of museval that computes; the whole package wants ffmpeg, to read what we have read already.

    Raises: UsageError where museval is not installed.
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
    """Per stem the median over songs of every figure, None where no song has it."""
    return _over_songs(songs, _median)


def mean_scores(songs: Iterable[SongScore]) -> tuple[StemScore, ...]:
    """Per stem the mean over songs of every figure, None where no song has it."""
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
    return low if low == high else (low + high) / 2  # inf and inf have no mean in floating point


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
