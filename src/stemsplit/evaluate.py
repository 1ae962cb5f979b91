"""How close estimated stems are to the true ones, in dB: SDR, cSDR, SI-SDR, its gain over the mixture, and leakage.

A stem of shape (channels, samples) counts as one long vector, and a song as a whole. With r the reference, e the
estimate and d = r − e:

    SDR     10 log10 |r|² / |d|²                          Mitsufuji et al. 2022, Music Demixing Challenge 2021
    SI-SDR  10 log10 |αr|² / |αr − e|²,  α = r·e / |r|²   Le Roux et al. 2019, SDR – half-baked or well done?
    cSDR    the median over seconds of their SDR          Stöter et al. 2018, SiSEC; museval's SDR

One α serves all channels and no mean is taken off, so a wrong balance or offset costs. Where the reference is
silent neither is defined: the estimate's energy against the mixture's is given instead, as leakage. All
figures come from four sums per stem and second, so files of any length are read once, second by second.

What the literature calls uSDR is the mean of the SDR over songs; its cSDR is the median over songs of ours. museval's
SDR (BSSEval v4) does not depend on its distortion filters, which only share the error out among ISR, SIR and SAR: the
frames are plain ratios of sums, and museval is not needed for them. As in museval, a frame in which a stem or an
estimate is silent counts for no stem, and what is left at the end of the song and is no whole second is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from stemsplit.audio import AudioInfo, blocks, probe
from stemsplit.errors import AudioError, UsageError
from stemsplit.song_folders import estimate_files, find_songs

SILENCE_RMS = 1e-4  # −80 dBFS: dithered silence lies below, quiet music above

Key = tuple[str, str]  # which file of a song: ("true" or "estimate", stem), or ("mixture", "")


@dataclass(frozen=True)
class Energies:
    """The sums that every figure needs, over all channels and samples so far, in float64."""

    reference: float = 0.0  # |r|²
    estimate: float = 0.0  # |e|²
    error: float = 0.0  # |r − e|²
    cross: float = 0.0  # r·(r − e)
    count: int = 0

    def __add__(self, other: Energies) -> Energies:
        return Energies(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def silent(self) -> bool:
        """Whether the reference holds nothing to compare with."""
        return self.reference <= self.count * SILENCE_RMS**2

    @property
    def sdr_db(self) -> float:
        """Signal-to-distortion ratio; inf for a perfect estimate, nan for a reference of zeros."""
        return decibels(self.reference, self.error)

    @property
    def si_sdr_db(self) -> float:
        """Scale-invariant SDR; −inf for an estimate without anything of the reference, nan as above."""
        if self.reference == 0:
            return math.nan
        projected = self.cross**2 / self.reference
        noise = self.error - projected  # what is left of the error when its part along r is removed
        target = (self.reference - self.cross) ** 2 / self.reference
        if target == 0:
            return -math.inf
        resolution = 1e-13 * max(self.error, target)  # below it, noise is rounding of the three sums
        return decibels(target, noise if noise > resolution else 0.0)


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


@dataclass(frozen=True)
class Evaluation:
    """Every song that could be scored, and the references ("song/stem") that had no estimate."""

    songs: tuple[SongScore, ...]
    missing: tuple[str, ...] = ()


def decibels(numerator: float, denominator: float) -> float:
    """10 log10 of a ratio of energies, with its limits: x/0 is inf, 0/x is −inf, 0/0 is nan."""
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf
    return 10 * math.log10(numerator / denominator) if numerator > 0 else -math.inf


# --- arrays


def measure(reference: np.ndarray, estimate: np.ndarray) -> Energies:
    """The sums over two arrays of one shape, (channels, samples). Raises ValueError if the shapes differ."""
    if reference.shape != estimate.shape:
        raise ValueError(f"reference {reference.shape} and estimate {estimate.shape} differ in shape")
    r = reference.ravel().astype(np.float64)
    e = estimate.ravel().astype(np.float64)
    d = r - e
    return Energies(float(r @ r), float(e @ e), float(d @ d), float(r @ d), r.size)


def sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """SDR in dB of an estimate (channels, samples)."""
    return measure(reference, estimate).sdr_db


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant SDR in dB of an estimate (channels, samples)."""
    return measure(reference, estimate).si_sdr_db


def si_sdr_improvement(reference: np.ndarray, estimate: np.ndarray, mixture: np.ndarray) -> float:
    """SI-SDR in dB gained over the mixture (channels, samples)."""
    return si_sdr(reference, estimate) - si_sdr(reference, mixture)


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


# --- files


def evaluate_folders(reference: Path, estimate: Path, subset: str = "test") -> Evaluation:
    """Score folders of stems: one song (reference/vocals.wav) or a folder per song (reference/song/vocals.wav).

    Stems are matched by name, whatever their suffix. A file `mixture` beside the references is the mixture,
    else their sum is. See `pair_songs` for MUSDB, and for where estimates may lie.

    Raises:
        UsageError: a folder is missing, or the two have no stem in common.
        AudioError: a file cannot be decoded, or differs from its reference in rate, channels or length.
    """
    pairs, missing = pair_songs(reference, estimate, subset)
    return Evaluation(tuple(evaluate_song(pair) for pair in pairs), missing)


class Pair(NamedTuple):
    """A song's files to compare, stem → path, and what is compared with its mixture, if that has a file."""

    song: str
    references: Mapping[str, Path]
    estimates: Mapping[str, Path]
    mixture: Path | None


def pair_songs(reference: Path, estimate: Path, subset: str = "test") -> tuple[list[Pair], tuple[str, ...]]:
    """The songs of two folders, and the references ("song/stem") without an estimate.

    See `song_folders` for the layouts, MUSDB18-HQ's among them, of which only one subset is taken.
    Raises: UsageError: a folder is missing, or the two have no stem in common.
    """
    for folder in (reference, estimate):
        if not folder.is_dir():
            hint = "with --melody, contours are compared" if folder.is_file() else "or one with a folder per song"
            raise UsageError(f"{folder}: no such folder; give a folder of stems, {hint}")
    songs = find_songs(reference, subset)
    found = {song.path: estimate_files(estimate, song, alone=song.path == reference) for song in songs}
    pairs = [
        Pair(song.name, song.stems, found[song.path], song.mixture)
        for song in songs
        if any(stem in found[song.path] for stem in song.stems)
    ]
    if not pairs:
        raise UsageError(
            f"{reference} and {estimate} have no stem in common: "
            "both need files with the same names, such as vocals.wav, or folders of songs that hold them"
        )
    missing = [f"{song.name}/{stem}" for song in songs for stem in song.stems if stem not in found[song.path]]
    return pairs, tuple(missing)


def evaluate_song(pair: Pair, frame_sdr: FrameSDR | None = None) -> SongScore:
    """Score one song's files in one pass. Raises AudioError as `evaluate_folders`."""
    true = {("true", stem): path for stem, path in pair.references.items()}
    stems = [stem for stem in pair.references if stem in pair.estimates]
    paths = true | {("estimate", stem): pair.estimates[stem] for stem in stems}
    if pair.mixture is not None:
        paths["mixture", ""] = pair.mixture
    parts = (
        Part(
            {stem: block["true", stem] for stem in stems},
            {stem: block["estimate", stem] for stem in stems},
            block["mixture", ""] if pair.mixture else np.stack([block[key] for key in true]).sum(axis=0),
        )
        for block in seconds_together(paths)
    )
    return SongScore(pair.song, score_parts(parts, frame_sdr))


def seconds_together(paths: Mapping[Key, Path]) -> Iterator[dict[Key, np.ndarray]]:
    """Each second (channels, n) of all files side by side, n the same for all of them; the last may be shorter.

    Raises: AudioError for files that differ in rate, channels or length.
    """
    infos = [probe(path) for path in paths.values()]
    for info in infos[1:]:
        _require_one_kind(infos[0], info)
    with ExitStack() as stack:
        second = infos[0].sample_rate
        readers = [stack.enter_context(closing(in_blocks_of(second, blocks(info, second)))) for info in infos]
        position = 0
        while True:
            together = [next(reader, None) for reader in readers]
            ends = [position + (0 if block is None else block.shape[1]) for block in together]
            _require_one_length(tuple(paths.values()), ends)
            found = {key: block for key, block in zip(paths, together, strict=True) if block is not None}
            if not found:
                return
            position = ends[0]
            yield found


def in_blocks_of(samples: int, parts: Iterable[np.ndarray]) -> Generator[np.ndarray]:
    """The same audio (…, n) in blocks of so many samples, the last one shorter."""
    held: list[np.ndarray] = []
    for part in parts:
        held.append(part)
        while sum(block.shape[-1] for block in held) >= samples:
            joined = np.concatenate(held, axis=-1)
            yield joined[..., :samples]
            held = [joined[..., samples:]]
    if held and (rest := np.concatenate(held, axis=-1)).shape[-1]:
        yield rest


def _require_one_kind(first: AudioInfo, other: AudioInfo) -> None:
    """Raise AudioError if two files differ in rate or channels."""
    for what in ("sample_rate", "channels"):
        if getattr(first, what) != getattr(other, what):
            raise AudioError(
                f"{other.path}: {what.replace('_', ' ')} {getattr(other, what)}, but {first.path} has "
                f"{getattr(first, what)}; stems are compared sample by sample, so convert one of them"
            )


def _require_one_length(paths: Sequence[Path], ends: Sequence[int]) -> None:
    """Raise AudioError if one file ended before another; `ends` are the samples read of each so far."""
    for path, end in zip(paths, ends, strict=True):
        if end != ends[0]:
            short, long = (path, paths[0]) if end < ends[0] else (paths[0], path)
            raise AudioError(
                f"{short}: ends after {min(end, ends[0])} samples, but {long} goes on; "
                "stems are compared sample by sample, so trim or render one of them again"
            )
