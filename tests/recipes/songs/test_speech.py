"""The pitch of spoken and rapped lines."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from songs.voices import speech
from songs.voices.line import Sung


def spoken_line() -> list[Sung]:
    return [Sung(0.2 * i + 1.0 * (i >= 5), 0.2 * i + 0.2 + 1.0 * (i >= 5), 60.0, 1.0, None) for i in range(10)]


def test_phrases_end_at_rests() -> None:
    assert [len(phrase) for phrase in speech.phrases_of(spoken_line())] == [5, 5]


def test_speech_keeps_to_its_middle_and_holds_no_note() -> None:
    rng = np.random.default_rng(1)
    flat, lively = (speech.speech_contour(rng, spoken_line(), 640, spread) for spread in (0.5, 3.0))
    assert abs(np.median(flat) - 60) < 1.5
    assert np.std(lively[:600]) > 2 * np.std(flat[:600])
    steps = np.abs(np.diff(lively[:200]))
    assert (steps < 1e-3).mean() < 0.2  # a sung line stands still between its glides
    assert steps.max() < 1.0


def test_speech_without_syllables_is_level() -> None:
    contour = speech.speech_contour(np.random.default_rng(0), [], 50, 1.0)
    assert contour.shape == (50,)
    assert np.isfinite(contour).all()
