"""The classical baseline that the quality benchmark compares with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stemsplit.demo.stems import synthesize_demo_song
from stemsplit.evaluation.scores import score_stems


@pytest.fixture(scope="module")
def baseline() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "baseline.py"
    spec = importlib.util.spec_from_file_location("baseline", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("samples", [1, 2047, 5000, 30_001])
def test_the_stems_add_up_to_the_mixture(baseline: ModuleType, samples: int) -> None:
    mixture = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
    stems = baseline.separate_classically(mixture)
    assert set(stems) == {"drums", "bass", "other", "vocals"}
    assert {stem.shape for stem in stems.values()} == {(2, samples)}
    np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-6)


def test_each_rule_finds_what_it_is_for(baseline: ModuleType) -> None:
    time = np.arange(3 * 44100) / 44100
    clicks = np.zeros_like(time)
    clicks[4410::11025] = 1.0
    low, high, side = (0.1 * np.sin(2 * np.pi * hertz * time) for hertz in (60, 900, 1300))
    silence = np.zeros_like(time)
    stems = {
        "drums": np.stack([clicks, clicks]),
        "bass": np.stack([low, low]),
        "vocals": np.stack([high, high]),
        "other": np.stack([side, silence]),
    }
    scores = score_stems(stems, baseline.separate_classically(np.sum(list(stems.values()), axis=0)))
    assert {score.stem: score.sdr_db for score in scores if score.sdr_db is None or score.sdr_db < 8} == {}


def test_on_a_song_it_beats_no_separation_and_the_oracle_beats_it(baseline: ModuleType) -> None:
    song = synthesize_demo_song(4, 1)
    estimates = (
        dict.fromkeys(song.stems, song.mixture),
        baseline.separate_classically(song.mixture),
        baseline.ideal_ratio_masks(song.stems, song.mixture),
    )
    mixture, classical, oracle = (score_stems(song.stems, estimate, song.mixture) for estimate in estimates)
    for nothing, masks, truth in zip(mixture, classical, oracle, strict=True):
        assert nothing.sdr_db is not None
        assert masks.sdr_db is not None
        assert truth.sdr_db is not None
        assert nothing.sdr_db < masks.sdr_db < truth.sdr_db


def test_silence_stays_silent(baseline: ModuleType) -> None:
    stems = baseline.separate_classically(np.zeros((2, 5000), np.float32))
    assert all((stem == 0).all() for stem in stems.values())
