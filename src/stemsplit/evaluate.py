"""How close estimated stems are to the true ones, in dB: SDR, SI-SDR, its gain over the mixture, and leakage.

A stem of shape (channels, samples) counts as one long vector, and a song as a whole: nothing is cut into
windows. With r the reference, e the estimate and d = r − e:

    SDR     10 log10 |r|² / |d|²                          Mitsufuji et al. 2022, Music Demixing Challenge 2021
    SI-SDR  10 log10 |αr|² / |αr − e|²,  α = r·e / |r|²   Le Roux et al. 2019, SDR – half-baked or well done?

One α serves all channels and no mean is taken off, so a wrong balance or offset costs. Where the reference is
silent neither is defined: the estimate's energy against the mixture's is given instead, as leakage. All
figures come from four sums per stem, so files of any length are read once, block by block.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from stemsplit.audio import AudioInfo, blocks, is_audio, probe
from stemsplit.errors import AudioError, UsageError

SILENCE_RMS = 1e-4  # −80 dBFS: dithered silence lies below, quiet music above
MIXTURE_NAMES = ("mixture", "mix")
BLOCK_SAMPLES = 65536

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
) -> tuple[StemScore, ...]:
    """Score the stems that both have, (channels, samples); the mixture is the references' sum by default."""
    stems = tuple(stem for stem in references if stem in estimates)
    if mixture is None:
        mixture = np.sum(list(references.values()), axis=0)
    return tuple(
        score(stem, measure(references[stem], estimates[stem]), measure(references[stem], mixture)) for stem in stems
    )


def score(stem: str, estimated: Energies, unseparated: Energies) -> StemScore:
    """The figures of a stem from its estimate's sums and from those with the mixture as the estimate."""
    if estimated.silent:
        return StemScore(stem, None, None, None, decibels(estimated.estimate, unseparated.estimate))
    improvement = estimated.si_sdr_db - unseparated.si_sdr_db
    return StemScore(stem, estimated.sdr_db, estimated.si_sdr_db, improvement, None)


def median_scores(songs: Iterable[SongScore]) -> tuple[StemScore, ...]:
    """Per stem the median over songs of every figure, None where no song has it."""
    by_stem: dict[str, list[StemScore]] = {}
    for song in songs:
        for stem_score in song.stems:
            by_stem.setdefault(stem_score.stem, []).append(stem_score)
    names = [f.name for f in fields(StemScore) if f.name != "stem"]
    return tuple(
        StemScore(stem, **{name: _median([getattr(s, name) for s in scores]) for name in names})
        for stem, scores in by_stem.items()
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
    return low if low == high else (low + high) / 2  # inf and inf have no mean in floating point


# --- files


def evaluate_folders(reference: Path, estimate: Path) -> Evaluation:
    """Score folders of stems: one song (reference/vocals.wav) or a folder per song (reference/song/vocals.wav).

    Stems are matched by name, whatever their suffix. A file `mixture` beside the references is the mixture,
    else their sum is. Estimates may also lie one folder deeper, in estimate/song/mixture/, which is where
    `stemsplit separate` puts them when it is given the mixtures.

    Raises:
        UsageError: a folder is missing, or the two have no stem in common.
        AudioError: a file cannot be decoded, or differs from its reference in rate, channels or length.
    """
    for folder in (reference, estimate):
        if not folder.is_dir():
            hint = "with --melody, contours are compared" if folder.is_file() else "or one with a folder per song"
            raise UsageError(f"{folder}: no such folder; give a folder of stems, {hint}")
    songs, missing = [], []
    for name, true, estimated in _pairs(reference, estimate):
        missing += [f"{name}/{stem}" for stem in true if stem not in (*estimated, *MIXTURE_NAMES)]
        if any(stem in estimated for stem in true if stem not in MIXTURE_NAMES):
            songs.append(evaluate_song(name, true, estimated))
    if not songs:
        raise UsageError(
            f"{reference} and {estimate} have no stem in common: "
            "both need files with the same names, such as vocals.wav, or folders of songs that hold them"
        )
    return Evaluation(tuple(songs), tuple(missing))


def evaluate_song(song: str, references: Mapping[str, Path], estimates: Mapping[str, Path]) -> SongScore:
    """Score one song's files, stem name → path, in one pass. Raises AudioError as `evaluate_folders`."""
    true = {("true", stem): path for stem, path in references.items() if stem not in MIXTURE_NAMES}
    mix = next((references[name] for name in MIXTURE_NAMES if name in references), None)
    stems = [stem for _, stem in true if stem in estimates]
    paths = true | {("estimate", stem): estimates[stem] for stem in stems}
    if mix is not None:
        paths["mixture", ""] = mix
    estimated = dict.fromkeys(stems, Energies())
    unseparated = dict.fromkeys(stems, Energies())
    for block in _blocks_together(paths):
        mixture = block["mixture", ""] if mix else np.stack([block[key] for key in true]).sum(axis=0)
        for stem in stems:
            estimated[stem] += measure(block["true", stem], block["estimate", stem])
            unseparated[stem] += measure(block["true", stem], mixture)
    return SongScore(song, tuple(score(stem, estimated[stem], unseparated[stem]) for stem in stems))


def stem_files(folder: Path) -> dict[str, Path]:
    """The audio files directly in a folder, stem name → path, by name."""
    return {path.stem: path for path in sorted(folder.iterdir()) if path.is_file() and is_audio(path)}


def _pairs(reference: Path, estimate: Path) -> Iterator[tuple[str, dict[str, Path], dict[str, Path]]]:
    """(song, reference files, estimate files) of every song."""
    if files := stem_files(reference):
        yield reference.name, files, _estimate_files(estimate)
        return
    for folder in sorted(path for path in reference.iterdir() if path.is_dir()):
        if files := stem_files(folder):
            yield folder.name, files, _estimate_files(estimate / folder.name)


def _estimate_files(folder: Path) -> dict[str, Path]:
    for place in (folder, *(folder / name for name in MIXTURE_NAMES)):
        if place.is_dir() and (files := stem_files(place)):
            return files
    return {}


def _blocks_together(paths: Mapping[Key, Path]) -> Iterator[dict[Key, np.ndarray]]:
    """Blocks (channels, n) of all files side by side, n the same for all of them at any time."""
    infos = [probe(path) for path in paths.values()]
    for info in infos[1:]:
        _require_one_kind(infos[0], info)
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(_even(blocks(info, BLOCK_SAMPLES)))) for info in infos]
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


def _even(decoded: Iterable[np.ndarray]) -> Generator[np.ndarray]:
    """The same samples in blocks of `BLOCK_SAMPLES`, the last one shorter."""
    held = None
    for block in decoded:
        held = block if held is None else np.concatenate([held, block], axis=1)
        if held.shape[1] >= BLOCK_SAMPLES:
            yield held[:, :BLOCK_SAMPLES]
            held = held[:, BLOCK_SAMPLES:]
    if held is not None and held.size:
        yield held


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
