"""Backing tracks that two singers used are found, whatever their level and wherever they begin."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile


@pytest.fixture
def overlap(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import shared_accompaniments

    return shared_accompaniments


def tune(seed: int) -> np.ndarray:
    """Four seconds of random notes."""
    rng, time = np.random.default_rng(seed), np.arange(4 * 16000) / 16000
    notes = np.repeat(110 * 2 ** (rng.integers(0, 36, 16) / 12), 4000)
    return np.sin(2 * np.pi * notes * time) * np.repeat(rng.uniform(0.1, 0.5, 16), 4000)


def test_a_track_that_begins_elsewhere_and_is_quieter_is_found(
    overlap: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = {"amy_1_01": tune(0), "amy_2_01": tune(1), "bug_1_01": 0.3 * tune(0)[8000:], "bug_2_01": tune(2)}
    for name, sound in sounds.items():
        soundfile.write(tmp_path / f"{name}.accomp.opus", sound, 16000, format="OGG", subtype="OPUS")
    overlap.main(["--mir1k", str(tmp_path), "--singers", "amy"])
    first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (first[0], first[-1]) == ("amy_1", "bug_1_01")
    assert float(first[1]) > 0.8
    assert second[0] == "amy_2"
    assert float(second[1]) < float(first[1]) - 0.2
