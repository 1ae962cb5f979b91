"""Syllables of running speech, found by its loudness: each has one vowel, and the consonants around it.

The nuclei are the voiced peaks of loudness: P. Mermelstein, JASA 58(4), 1975; N. de Jong, T. Wempe, Behavior Research
Methods 41(2), 2009.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import signal

from songs.voices.people.talk import HERTZ, Talk

_PROMINENCE, _RANGE = 2.5, 22.0  # dB that a nucleus stands out by; that it may lie below the loudest ones
_NEAREST = 14  # frames from one nucleus to the next, at least
_VOWEL_DB, _SHORTEST = 7.0, 7  # a vowel is as loud as its peak less so many dB, for so many frames
_PAUSE, _PAUSE_DB = 16, 32.0  # a pause has so many frames that are softer by so many dB
_FURTHEST = 60  # frames of consonants on either side of a vowel
_HELD = 12  # frames of a vowel that can be held


class Syllable(NamedTuple):
    """A syllable in frames of a talk: `onset` ≤ `vowel` ≤ `hold_from` < `hold_to` ≤ `end`."""

    onset: int
    vowel: int
    hold_from: int
    hold_to: int
    """The steadiest part of the vowel, which can be held, ends here."""
    end: int
    run: int
    """The number of the stretch between two pauses that it belongs to."""
    loudness: float
    """Natural logarithm of the vowel's power."""


def find_syllables(talk: Talk) -> list[Syllable]:
    """Return the syllables of a talk in order. In a run one ends where the next begins."""
    logs = talk.logs(np.arange(len(talk.f0)))
    power = np.exp(logs)
    loud = _smooth(_decibels(power[:, (HERTZ > 300) & (HERTZ < 3500)].sum(1)))
    whole = _smooth(_decibels(power[:, HERTZ > 200].sum(1)))
    voiced = signal.medfilt((talk.f0 > 0).astype(np.float32), 7) > 0.5
    if not voiced.any():
        return []
    top = float(np.percentile(loud[voiced], 95))
    candidate = np.where(voiced, loud, top - 80)
    peaks, _ = signal.find_peaks(candidate, height=top - _RANGE, distance=_NEAREST, prominence=_PROMINENCE)
    vowels = [span for peak in peaks if (span := _vowel(loud, voiced, int(peak))) is not None]
    change = _smooth(np.abs(np.gradient(_smooth(logs[:, HERTZ < 5000]), axis=0)).mean(1))
    return _bounded(_apart(vowels), loud, whole < top - _PAUSE_DB, change, power)


def _decibels(power: np.ndarray) -> np.ndarray:
    decibels: np.ndarray = 10 * np.log10(power + 1e-12)
    return decibels


def _smooth(values: np.ndarray, size: int = 9) -> np.ndarray:
    """Return values (frames, ...) averaged over `size` frames."""
    window = np.hanning(size + 2)[1:-1]
    shape = (-1,) + (1,) * (values.ndim - 1)
    smoothed: np.ndarray = signal.convolve(values, (window / window.sum()).reshape(shape), mode="same", method="direct")
    return smoothed


def _vowel(loud: np.ndarray, voiced: np.ndarray, peak: int) -> tuple[int, int] | None:
    """Return the first and last frame (exclusive) of the vowel around a peak; None if it is too short."""
    inside = voiced & (loud > loud[peak] - _VOWEL_DB)
    before = np.flatnonzero(~inside[:peak])
    after = np.flatnonzero(~inside[peak:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = peak + (int(after[0]) if len(after) else len(inside) - peak)
    return (first, last) if last - first >= _SHORTEST else None


def _apart(vowels: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return vowels that do not overlap: of two that do, the later begins in the middle of what they share."""
    apart: list[tuple[int, int]] = []
    for first, last in vowels:
        if apart and first < apart[-1][1]:
            middle = (max(first, apart[-1][0]) + min(last, apart[-1][1])) // 2
            if middle - apart[-1][0] < _SHORTEST or last - middle < _SHORTEST:
                continue
            apart[-1], first = (apart[-1][0], middle), middle
        apart.append((first, last))
    return apart


def _bounded(
    vowels: list[tuple[int, int]], loud: np.ndarray, quiet: np.ndarray, change: np.ndarray, power: np.ndarray
) -> list[Syllable]:
    """Return the syllables of vowels: they meet where it is least loud, or end at a pause."""
    found: list[Syllable] = []
    run, onset = 0, _after_pause(quiet, max(0, vowels[0][0] - _FURTHEST), vowels[0][0]) if vowels else 0
    for index, (first, last) in enumerate(vowels):
        following = vowels[index + 1][0] if index + 1 < len(vowels) else len(loud)
        pause = _pause(quiet, last, following)
        pause = (len(loud), len(loud)) if pause is None and index + 1 == len(vowels) else pause
        end = pause[0] if pause else last + int(np.argmin(loud[last : following + 1]))
        end, start = min(end, last + _FURTHEST), pause[1] if pause else end
        hold_from, hold_to = _steadiest(change, first, last)
        loudness = float(np.log(power[first:last].sum(1).mean() + 1e-12))
        found.append(Syllable(onset, first, hold_from, hold_to, end, run, loudness))
        onset = max(start, following - _FURTHEST)
        run += pause is not None or onset > end
    return found


def _pause(quiet: np.ndarray, first: int, last: int) -> tuple[int, int] | None:
    """Return the longest pause between two frames; None if there is none."""
    edges = np.flatnonzero(np.diff(np.r_[0, quiet[first:last].astype(int), 0])) + first
    pauses = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    longest = max(pauses, key=lambda pause: pause[1] - pause[0], default=(0, 0))
    return longest if longest[1] - longest[0] >= _PAUSE else None


def _after_pause(quiet: np.ndarray, first: int, last: int) -> int:
    """Return where somebody begins to speak before frame `last`."""
    still = np.flatnonzero(quiet[first:last])
    return first + int(still[-1]) + 1 if len(still) else first


def _steadiest(change: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """Return the part of a vowel in which the spectrum changes least."""
    length = min(_HELD, last - first - 2)
    first = first + 1
    sums = np.convolve(change[first : last - 1], np.ones(length), mode="valid")
    at = first + int(np.argmin(sums))
    return at, at + length
