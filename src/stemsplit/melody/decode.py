"""Posteriors (the network's probabilities of every frame) → a contour: one pitch per frame, and whether it is sung.

The pitch: First a bin is chosen, the likeliest of the frame or that of the likeliest path (`viterbi`). The pitch is
then the mean of the bins around it, weighted by their probabilities, on a logarithmic scale. So it is finer than a bin.

The voicing: A frame is voiced if 1 − p(non-voice) reaches the threshold. Then unvoiced gaps of at most `CLOSED_GAP_S`
inside one note become voiced, and voiced runs shorter than `SHORTEST_RUN_S` become unvoiced.

If the contour has another hop than the network, posteriors are interpolated and not pitches. Halfway between two notes
both pitches are then likely, and none in between is made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stemsplit.errors import ModelError, UsageError
from stemsplit.melody.contour import Contour
from stemsplit.melody.pitch import PitchGrid
from stemsplit.melody.viterbi import Motion, follow

SMOOTHINGS = ("viterbi", "median", "none")
MEAN_BINS = 4
"""The mean is taken over this many bins on either side of the chosen one."""

SHORTEST_RUN_S = 0.050
CLOSED_GAP_S = 0.030
SAME_NOTE_CENTS = 100.0
"""A gap lies inside one note if the pitches on its two sides are no further apart than this."""

MEDIAN_S = 0.050
STEP_PER_CENT = 0.005
"""Cost, in nats, of moving the pitch by one cent: half a nat per semitone, at any hop."""

JUMP = 12.0
"""Cost, in nats, of a jump of any size.

All costs were chosen on voices of MIR-1K, alone and mixed, of singers that the network was not trained on. A cost of 4
leaves more octave errors in mixtures. A cost of 40 leaves slightly fewer, but misses short notes.
"""

REACH_CENTS_PER_S = 12000.0
"""Faster changes of pitch, more than 120 cents in 10 ms, are jumps. A vibrato of a semitone moves by 40 in 10 ms."""

EVIDENCE_HOP_S = 0.01
"""Frames this far apart count fully for the path. Closer frames mostly repeat one another, and count less."""

BLOCK = 1024
"""The most frames that are worked on at once."""

TIME_SLACK = 1e-6
"""In frames: times that differ by no more than this are taken for equal."""


@dataclass(frozen=True)
class Decoding:
    """How to turn posteriors into a contour."""

    hop_ms: float = 10.0  # from frame to frame of the contour
    fmin: float | None = None  # Hz; lower pitches are not considered
    fmax: float | None = None  # Hz; higher pitches are not considered
    threshold: float = 0.5  # the probability from which on a frame is sung
    smooth: Literal["viterbi", "median", "none"] = "viterbi"  # how neighbouring frames influence the pitch


def check_decoding(grid: PitchGrid, decoding: Decoding) -> None:
    """Check, before any work, that a decoding can be carried out. Raises: UsageError if not."""
    if not 0 < decoding.hop_ms < np.inf:
        raise UsageError(f"a hop of {decoding.hop_ms:g} ms is none: choose one above 0, such as --hop-ms 10")
    if not 0 <= decoding.threshold <= 1:
        raise UsageError(f"the voicing threshold {decoding.threshold:g} is no probability: choose one from 0 to 1")
    if decoding.smooth not in SMOOTHINGS:
        raise UsageError(f"unknown smoothing {decoding.smooth!r}: choose one of {', '.join(SMOOTHINGS)}")
    lowest, highest = _ends(grid)
    for name, hz in (("fmin", decoding.fmin), ("fmax", decoding.fmax)):
        if hz is not None and not lowest <= hz <= highest:
            raise UsageError(
                f"--{name} {hz:g} is outside of what the model hears: choose {_up(lowest)} to {int(highest)} Hz"
            )
    if decoding.fmin is not None and decoding.fmax is not None and decoding.fmin >= decoding.fmax:
        raise UsageError(f"--fmin {decoding.fmin:g} is not below --fmax {decoding.fmax:g}: give the lower one first")


def decode(posteriors: Iterable[np.ndarray], grid: PitchGrid, hop: float, decoding: Decoding) -> Contour:
    """Return the contour of a stream of posteriors.

    Frames of the contour are at i · `decoding.hop_ms`, up to the last row. If there is an `fmin` or `fmax`, the
    probability of the pitches outside is distributed among those inside. Whether a frame is sung does not change.

    Memory does not depend on the length, apart from the contour itself with 13 bytes per frame.

    Args:
        posteriors: blocks (n, 1 + bins) float32; each row sums to 1, and column 0 is non-voice.
        grid: the pitches that the other columns stand for.
        hop: seconds from row to row.
        decoding: how to read them.

    Raises:
        UsageError: see `check_decoding`.
        ModelError: rows that are not probabilities.
    """
    check_decoding(grid, decoding)
    first, last = _range(grid, decoding)
    step = decoding.hop_ms / 1000
    rows = _gathered(_limited(_at_hop(_checked(posteriors, grid), hop, step), first, last))
    if decoding.smooth == "viterbi":
        paths = follow(rows, _motion(grid, step))
    else:
        paths = ((block, block[:, 1:].argmax(1)) for block in rows)
    pitches, confidences = [np.empty(0)], [np.empty(0, dtype=np.float32)]
    for block, path in paths:
        pitches.append(first + _local_mean(block[:, 1:], path))
        confidences.append(np.clip(1 - block[:, 0], 0, 1))
    pitch, confidence = np.concatenate(pitches), np.concatenate(confidences)
    del pitches, confidences
    if decoding.smooth == "median":
        pitch = _median(pitch, _odd(MEDIAN_S / step))
    voiced = _tidied(confidence >= decoding.threshold, pitch * grid.cents, step)
    # The bins at the ends of the range may reach beyond it.
    frequency = np.clip(grid.hz_of(pitch), decoding.fmin, decoding.fmax) if _limits(decoding) else grid.hz_of(pitch)
    return Contour(step, frequency, confidence, voiced)


def _up(hz: float) -> int:
    return int(np.ceil(hz))


def _limits(decoding: Decoding) -> bool:
    return decoding.fmin is not None or decoding.fmax is not None


def _ends(grid: PitchGrid) -> tuple[float, float]:
    """Return the lowest and the highest frequency in Hz that belong to a bin."""
    return float(grid.hz_of(-0.5)), float(grid.hz_of(grid.bins - 0.5))


def _range(grid: PitchGrid, decoding: Decoding) -> tuple[int, int]:
    """Return the first and the last bin that overlap with fmin … fmax."""
    first, last = 0, grid.bins - 1
    if decoding.fmin is not None:
        first = int(np.clip(np.floor(grid.bins_of(decoding.fmin) + 0.5), first, last))
    if decoding.fmax is not None:
        last = int(np.clip(np.ceil(grid.bins_of(decoding.fmax) - 0.5), first, last))
    return first, last


def _checked(posteriors: Iterable[np.ndarray], grid: PitchGrid) -> Iterator[np.ndarray]:
    """Yield the same rows in blocks of at most `BLOCK`, after checking that they are probabilities."""
    for block in posteriors:
        if block.ndim != 2 or block.shape[1] != 1 + grid.bins:
            raise ModelError(
                f"the melody network gave {block.shape}, not (frames, {1 + grid.bins}): its config is wrong"
            )
        for start in range(0, len(block), BLOCK):
            rows = block[start : start + BLOCK]
            if not np.isfinite(rows).all():
                raise ModelError(
                    "the melody network gave NaN or infinity: try --device cpu, or download the model again"
                )
            if (rows < 0).any() or (np.abs(rows.sum(1) - 1) > 0.01).any():
                raise ModelError("the melody network's rows do not sum to 1: these are no probabilities")
            yield rows


def _at_hop(blocks: Iterable[np.ndarray], hop: float, step: float) -> Iterator[np.ndarray]:
    """Interpolate rows that are `hop` s apart linearly, and yield rows that are `step` s apart.

    None of these lies after the last row of the input.
    """
    ratio = step / hop
    if abs(ratio - 1) < 1e-12:
        yield from blocks
        return
    known, held, out = 0, None, 0  # rows read; those of them that are held, which are the last ones; rows yielded
    for block in blocks:
        held = block if held is None else np.concatenate((held, block))
        known += len(block)
        base = known - len(held)
        while (count := min(int((known - 1 + TIME_SLACK) / ratio) + 1 - out, BLOCK)) > 0:
            yield _between(held, np.arange(out, out + count) * ratio - base)
            out += count
        held = held[-1:]


def _between(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the rows at fractional indices, by linear interpolation."""
    at = np.clip(at, 0, len(rows) - 1)
    before = np.floor(at).astype(np.int64)
    after = np.minimum(before + 1, len(rows) - 1)
    share = (at - before).astype(np.float32)[:, None]
    return np.asarray(rows[before] * (1 - share) + rows[after] * share)


def _limited(blocks: Iterable[np.ndarray], first: int, last: int) -> Iterator[np.ndarray]:
    """Yield rows that have only the bins first … last.

    p(non-voice) stays the same. The rest of the probability is distributed among the bins in proportion.
    """
    for rows in blocks:
        inside = rows[:, 1 + first : 2 + last]
        if inside.shape[1] == rows.shape[1] - 1:
            yield rows
            continue
        total = inside.sum(1, keepdims=True)
        even = np.float32(1 / inside.shape[1])  # for frames without any probability inside the range
        shares = np.divide(inside, total, out=np.full_like(inside, even), where=total > 0)
        yield np.concatenate((rows[:, :1], shares * (1 - rows[:, :1])), axis=1)


def _gathered(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Join small blocks to larger ones, because every block costs the later steps the same, however small it is."""
    held: list[np.ndarray] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= BLOCK // 2:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _motion(grid: PitchGrid, step: float) -> Motion:
    """Return the costs of moving on this grid, with frames that are `step` s apart."""
    reach = round(min(REACH_CENTS_PER_S * step, JUMP / STEP_PER_CENT) / grid.cents)
    return Motion(STEP_PER_CENT * grid.cents, JUMP, max(reach, 1), step / EVIDENCE_HOP_S)


def _local_mean(pitches: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Return the fractional bin of every frame, (n,) float64: the weighted mean of the bins around `path`.

    Args:
        pitches: (n, bins) probabilities, the weights.
        path: (n,) the chosen bin of every frame.
    """
    near = path[:, None] + np.arange(-MEAN_BINS, MEAN_BINS + 1)
    inside = (near >= 0) & (near < pitches.shape[1])
    near = np.clip(near, 0, pitches.shape[1] - 1)
    weights = np.take_along_axis(pitches, near, axis=1).astype(np.float64) * inside
    total = weights.sum(1)
    mean: np.ndarray = np.divide((weights * near).sum(1), total, out=path.astype(np.float64), where=total > 0)
    return mean


def _odd(frames: float) -> int:
    return 2 * int(frames / 2) + 1


def _median(values: np.ndarray, width: int) -> np.ndarray:
    """Return the running median over `width` frames, an odd number. The first and last values are repeated."""
    if not len(values) or width < 3:
        return values
    padded = np.pad(values, width // 2, mode="edge")
    out = np.empty_like(values)
    for start in range(0, len(values), BLOCK):
        stop = min(start + BLOCK, len(values))
        windows = np.lib.stride_tricks.sliding_window_view(padded[start : stop + width - 1], width)
        out[start:stop] = np.median(windows, axis=1)
    return out


def _runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts of the runs of True, and their ends, which are the first frames after them."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return edges[::2], edges[1::2]


def _tidied(voiced: np.ndarray, cents: np.ndarray, step: float) -> np.ndarray:
    """Close short gaps inside one note, then drop short runs."""
    voiced = voiced.copy()
    starts, stops = _runs(~voiced)
    inner = (starts > 0) & (stops < len(voiced)) & ((stops - starts) * step <= CLOSED_GAP_S + TIME_SLACK * step)
    for start, stop in zip(starts[inner], stops[inner], strict=True):
        voiced[start:stop] = abs(cents[stop] - cents[start - 1]) <= SAME_NOTE_CENTS
    starts, stops = _runs(voiced)
    short = (stops - starts) * step < SHORTEST_RUN_S - TIME_SLACK * step
    for start, stop in zip(starts[short], stops[short], strict=True):
        voiced[start:stop] = False
    return voiced
