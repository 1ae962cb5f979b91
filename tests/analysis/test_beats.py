"""The tempo of drums, and what it is worth."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from stemsplit.analysis.beats import LONGEST_SECONDS, Beat, Drums, Tempo, check_beat_tracker, checked_tempo, steady
from stemsplit.errors import UsageError

RATE = 16000


def drummed(bpm: float, offset: float, seconds: float = 30.0) -> np.ndarray:
    """A drum on every beat, a quieter one between."""
    rng, samples = np.random.default_rng(0), np.zeros(round(seconds * RATE), np.float32)
    for number, time in enumerate(np.arange(offset, seconds - 0.1, 30 / bpm)):
        hit = rng.normal(0, 0.3 if number % 2 == 0 else 0.08, RATE // 10) * np.exp(-np.arange(RATE // 10) / 300)
        samples[round(time * RATE) :][: len(hit)] += hit.astype(np.float32)
    return samples


@pytest.mark.slow  # librosa compiles for half a minute when it is first used
@pytest.mark.parametrize(("bpm", "offset"), [(97.3, 0.25), (128.0, 0.05)])
def test_the_tempo_of_drums(bpm: float, offset: float) -> None:
    pytest.importorskip("librosa")
    drums = Drums(RATE)
    for block in np.array_split(drummed(bpm, offset), 7):
        drums.add(np.stack([block, block]))
    tempo, confidence = drums.beat()
    assert tempo.bpm == pytest.approx(bpm, rel=0.002)
    phase = (tempo.first_beat - offset) * bpm / 60
    assert abs(phase - round(phase)) < 0.1
    assert confidence > 0.9


@pytest.mark.parametrize("drums", [np.zeros((2, 0)), np.zeros((2, RATE))])
def test_nothing_drums(drums: np.ndarray) -> None:
    heard = Drums(RATE)
    heard.add(drums.astype(np.float32))
    assert heard.beat() == Beat(Tempo(120.0), 0.0)


def test_a_long_song_is_not_held_in_memory() -> None:
    drums = Drums(10)
    for _ in range(LONGEST_SECONDS // 60 + 5):
        drums.add(np.ones((1, 600), np.float32))
    assert sum(len(block) for block in drums._blocks) == 10 * LONGEST_SECONDS


def test_a_steady_grid_over_a_missed_beat() -> None:
    times = np.delete(0.3 + 0.5 * np.arange(400) + np.random.default_rng(0).normal(0, 0.005, 400), [7, 8, 100])
    tempo, confidence = steady(times)
    assert tempo.bpm == pytest.approx(120, abs=0.01)
    assert confidence == 1.0
    assert tempo.first_beat == pytest.approx(0.3, abs=0.01)


def test_a_band_that_hurries_is_not_trusted() -> None:
    assert steady(np.cumsum(np.linspace(0.6, 0.4, 200))).confidence < 0.5
    assert steady(np.arange(3) * 0.5) == Beat(Tempo(), 0.0)  # too few


@pytest.mark.parametrize("tempo", [Tempo(90.0), Tempo(90.0, 0.5)])
def test_beats_go_on_without_a_jump(tempo: Tempo) -> None:
    times = np.linspace(0, 3, 301)
    beats = np.array([tempo.beats(time) for time in times])
    assert beats[0] == 0
    assert (np.diff(beats) > 0).all()
    assert np.diff(beats).max() < 0.05


@pytest.mark.parametrize("bpm", [0.0, -120.0, 1e9, float("nan"), float("inf")])
def test_tempi_that_no_song_has(bpm: float) -> None:
    with pytest.raises(UsageError, match="20 to 400 beats per minute"):
        checked_tempo(bpm)


def test_without_librosa_there_is_a_way_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: object, **more: object) -> object:
        if name == "librosa":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match="pip install librosa, or give a number"):
        check_beat_tracker()
