"""Files of contours: the formats that are written, and a reader for these and for files of other pitch trackers.

    csv     time,frequency,confidence with a header, as CREPE and PESTO write it; frequency 0.000 where unvoiced
    mirex   time and frequency with a tab in between, no header; in unvoiced frames the guess with a minus sign
    sv      time,frequency of the voiced frames only, no header: a layer of Sonic Visualiser or Tony

Times are in seconds and frequencies in Hz, these with three decimals. Frame i is at i · hop. Times have as many
decimals as that needs, up to six.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from stemsplit.errors import AudioError, UsageError, reason
from stemsplit.machine.disk import written_aside
from stemsplit.melody.contour import Contour

DEFAULT_HOP = 0.010
"""Seconds between frames, if a file has fewer than two of them."""

MOST_FRAMES = 10_000_000
"""More than any song has. A file with a few lines but huge times must not fill the memory."""

BLOCK = 4096
"""Frames that are written at once."""

MIN_DECIMALS, MAX_DECIMALS = 3, 6


@dataclass(frozen=True)
class ContourFormat:
    """One row of `FORMATS`."""

    name: str
    suffix: str  # the file is called {track}.{suffix}
    lines: Callable[[Contour], Iterator[str]]  # yields the lines of the file, without line ends


def _csv(contour: Contour) -> Iterator[str]:
    yield "time,frequency,confidence"
    places = _decimals(contour.hop)
    for time, hz, sure, sung in _frames(contour):
        yield f"{time:.{places}f},{hz if sung else 0.0:.3f},{sure:.6f}"


def _mirex(contour: Contour) -> Iterator[str]:
    places = _decimals(contour.hop)
    for time, hz, _, sung in _frames(contour):
        yield f"{time:.{places}f}\t{hz if sung or not hz else -hz:.3f}"


def _sv(contour: Contour) -> Iterator[str]:
    places = _decimals(contour.hop)
    for time, hz, _, sung in _frames(contour):
        if sung:
            yield f"{time:.{places}f},{hz:.3f}"


def _frames(contour: Contour) -> Iterator[tuple[float, float, float, bool]]:
    """Yield seconds, Hz, confidence and voicing of every frame. As numbers of Python all of them would be large."""
    for start in range(0, len(contour), BLOCK):
        part = slice(start, start + BLOCK)
        times = np.arange(start, min(start + BLOCK, len(contour))) * contour.hop
        columns = times, contour.frequency[part], contour.confidence[part], contour.voiced[part]
        yield from zip(*(column.tolist() for column in columns), strict=True)


FORMATS: dict[str, ContourFormat] = {
    row.name: row
    for row in (
        ContourFormat("csv", "f0.csv", _csv),
        ContourFormat("mirex", "f0.txt", _mirex),
        ContourFormat("sv", "f0.sv.csv", _sv),
    )
}


def format_named(name: str) -> ContourFormat:
    """Return a row of `FORMATS`. Raises: UsageError for an unknown name."""
    if name.lower() not in FORMATS:
        raise UsageError(f"unknown contour format {name!r}: choose one of {', '.join(FORMATS)}")
    return FORMATS[name.lower()]


def write_contour(path: Path, contour: Contour, format: str = "csv") -> None:
    """Write a contour, whole or not at all.

    Args:
        path: the file.
        contour: what to write.
        format: a key of `FORMATS`.

    Raises:
        UsageError: the format is unknown.
        OutputError: the disk refuses.
    """
    row = format_named(format)
    with written_aside(Path(path)) as partial, partial.open("wb") as file:
        lines = row.lines(contour)
        while some := list(islice(lines, BLOCK)):
            file.write("".join(f"{line}\n" for line in some).encode())


def read_contour(path: Path) -> Contour:
    """Read a contour in any of `FORMATS`, or another file with times, frequencies and perhaps confidences.

    Columns may be separated by commas, semicolons or white space. Lines that begin with # are skipped, and so is a
    header whose first column is a time.

    A frame is voiced if its frequency is above 0. Below 0 it is unvoiced with a guess. If the frequency is 0 or NaN, or
    if the file leaves the frame out, it is unvoiced without a guess.

    The third column is the confidence if it holds probabilities. Otherwise the confidence is 1 where voiced, and 0
    elsewhere.

    The hop follows from the times, which are rounded to the nearest multiple of it. An empty file is an error, unless
    it has the suffix of sv: there it means silence.

    Raises:
        AudioError: the file cannot be read, or is not a contour.
    """
    path = Path(path)
    times, hertz, confidence = _columns(path)
    if not len(times):
        if not path.stat().st_size and not path.name.lower().endswith("." + FORMATS["sv"].suffix):
            raise AudioError(f"{path} is no contour: it is empty")
        return Contour(DEFAULT_HOP, np.empty(0), np.empty(0, dtype=np.float32), np.empty(0, dtype=bool))
    hop = _hop(path, times)
    if times[-1] / hop >= MOST_FRAMES:
        raise AudioError(f"{path} is no contour: it would have {times[-1] / hop:.0f} frames, {hop:g} s apart")
    # Rounded relative to the first time: otherwise frames at 5, 15 and 25 ms would be rounded to 0, 20 and 20 ms.
    index = np.rint(times[0] / hop).astype(np.int64) + np.rint((times - times[0]) / hop).astype(np.int64)
    if (np.diff(index) < 1).any():
        raise AudioError(f"{path} is no contour: its times are not evenly spaced")
    frequency, sure = np.zeros(index[-1] + 1), np.zeros(index[-1] + 1, dtype=np.float32)
    frequency[index], sure[index] = hertz, confidence
    return Contour(hop, np.abs(frequency), sure, frequency > 0)


def _decimals(hop: float) -> int:
    """Return how many decimals the times of the frames need, between `MIN_DECIMALS` and `MAX_DECIMALS`."""
    for places in range(MIN_DECIMALS, MAX_DECIMALS):
        if abs(hop * 10**places - round(hop * 10**places)) < 1e-9:
            return places
    return MAX_DECIMALS


def _columns(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the times in s, the frequencies in Hz with their signs, and the confidences: (n,) each."""
    rows, third = [], []
    for number, cells in _cells(path):
        try:
            rows.append((float(cells[0]), float(cells[1])))
        except (ValueError, IndexError):
            if not rows and _is_header(cells):
                continue
            raise AudioError(f"{path} is no contour: line {number} is not a time and a frequency") from None
        third.append(cells[2] if len(cells) > 2 else "")
    times, hertz = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    if not np.isfinite(times).all() or (times < 0).any() or np.isinf(hertz).any():
        raise AudioError(f"{path} is no contour: its times and frequencies are not all numbers from 0 s on")
    hertz = np.nan_to_num(hertz)
    confidence = _probabilities(third)
    return times, hertz, (hertz > 0).astype(np.float32) if confidence is None else confidence


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line that is not empty and not a comment."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                line = line.strip()
                if line and not line.startswith("#"):
                    separator = next((mark for mark in ",;" if mark in line), None)
                    yield number, [cell.strip() for cell in line.split(separator)]
    except OSError as error:
        raise AudioError(f"cannot read {path}: {reason(error)}") from error


def _is_header(cells: list[str]) -> bool:
    """Return whether a line is a header whose first column is a time.

    A list of notes, which is no contour, has onsets in its first column.
    """
    first = cells[0].strip("\"'").lower()
    return len(cells) > 1 and (first in ("t", "s") or "time" in first or first.startswith("sec"))


def _probabilities(cells: list[str]) -> np.ndarray | None:
    """Return the third column as numbers, or None if not all of them are from 0 to 1.

    In some files the third column is a label, or a level in dB.
    """
    try:
        values = np.array([float(cell) for cell in cells], dtype=np.float32)
    except ValueError:
        return None
    return values if ((values >= 0) & (values <= 1)).all() else None


def _hop(path: Path, times: np.ndarray) -> float:
    """Return the seconds between frames. The file may leave frames out."""
    if len(times) < 2:
        return DEFAULT_HOP
    apart = np.diff(times)
    if (apart <= 0).any():
        raise AudioError(f"{path} is no contour: its times do not rise")
    # The times are rounded. The mean over neighbours is exact enough to count how many frames every gap holds.
    hop = float(apart[apart < 1.5 * np.median(apart)].mean())
    return round(float((times[-1] - times[0]) / np.rint(apart / hop).sum()), 12)
