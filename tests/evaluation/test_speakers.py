"""Scores of speakers do not depend on which is called what."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tiny import write_song

from stemsplit.cli import main
from stemsplit.errors import AudioError, UsageError
from stemsplit.evaluation.sdr import measure
from stemsplit.evaluation.speakers import evaluate_speakers, medians, score_speakers

RATE = 2000


def voices(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(seed).normal(0, 0.1, (2, 1, 2 * RATE + 77)).astype(np.float32))


def write_talk(folder: Path, **sounds: np.ndarray) -> Path:
    for name, sound in sounds.items():
        write_song(folder / f"{name}.wav", sound, RATE, "FLOAT")
    return folder


def test_the_best_order_counts() -> None:
    one, two = voices()
    found = score_speakers({"anna": one, "otto": two}, {"speaker1": two + 0.1 * one, "speaker2": one})
    assert [speaker.estimate for speaker in found] == ["speaker2", "speaker1"]
    otto = found[1].figures
    assert otto.si_sdr_db == pytest.approx(measure(two, two + 0.1 * one).si_sdr_db)
    assert otto.si_sdr_improvement_db == pytest.approx(otto.si_sdr_db - measure(two, one + two).si_sdr_db)
    assert found[0].figures.sdr_db == math.inf


def test_three_speakers_and_more_estimates() -> None:
    sounds = np.random.default_rng(0).normal(0, 0.1, (4, 1, 500))
    noisy = sounds + 0.3 * np.random.default_rng(1).normal(0, 0.1, sounds.shape)
    found = score_speakers({name: sounds[k] for k, name in enumerate("abc")}, {str(k): noisy[k] for k in (3, 1, 0, 2)})
    assert [speaker.estimate for speaker in found] == ["0", "1", "2"]


def test_a_silent_speaker_is_given_the_quieter_estimate() -> None:
    one, _ = voices()
    found = score_speakers({"anna": np.zeros_like(one), "otto": one}, {"a": 0.9 * one, "b": 0.01 * one})
    assert [speaker.estimate for speaker in found] == ["b", "a"]
    assert found[0].figures.leakage_db == pytest.approx(-40, abs=0.1)
    assert found[0].figures.si_sdr_db is None


def test_files_are_scored_as_arrays_are_whatever_they_are_called(tmp_path: Path) -> None:
    one, two = voices()
    noise = np.random.default_rng(2).normal(0, 0.03, one.shape).astype(np.float32)
    estimates = {"x": two + noise, "y": one - noise}
    truth = write_talk(tmp_path / "truth" / "a", anna=one, otto=two, mixture=one + two + noise).parent
    write_talk(tmp_path / "truth" / "b", anna=one, otto=two)
    write_talk(tmp_path / "found" / "a", **estimates, mixture=noise)
    (talk,), missing = evaluate_speakers(truth, tmp_path / "found")
    assert missing == ("b",)
    expected = score_speakers({"anna": one, "otto": two}, estimates, one + two + noise)
    assert [speaker.estimate for speaker in talk.speakers] == ["y", "x"]
    for got, wanted in zip(talk.speakers, expected, strict=True):
        assert got.figures.si_sdr_db == pytest.approx(wanted.figures.si_sdr_db)
        assert got.figures.si_sdr_improvement_db == pytest.approx(wanted.figures.si_sdr_improvement_db)
    assert medians([talk])["leakage_db"] is None


def test_who_changes_places_is_wrong(tmp_path: Path) -> None:
    one, two = voices()
    swapped = [np.concatenate([a[:, : RATE + 500], b[:, RATE + 500 :]], 1) for a, b in ((one, two), (two, one))]
    truth = write_talk(tmp_path / "truth", anna=one, otto=two)
    (talk,), _ = evaluate_speakers(truth, write_talk(tmp_path / "found", a=swapped[0], b=swapped[1]))
    assert max(speaker.figures.si_sdr_db for speaker in talk.speakers) < 5


def test_the_command_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = voices()
    truth = write_talk(tmp_path / "truth", anna=one, otto=two)
    found = write_talk(tmp_path / "found", speaker1=two + 0.1 * one, speaker2=one)
    assert main(["evaluate", "--speakers", str(truth), str(found), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [speaker["estimate"] for speaker in values["speakers"]] == ["speaker2", "speaker1"]
    assert values["speakers"][0]["sdr_db"] == "inf"
    assert main(["evaluate", "--speakers", str(truth), str(found)]) == 0
    text = capsys.readouterr().out
    assert "20.0" in text
    assert "otto" in text


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = voices()
    truth = write_talk(tmp_path / "truth", anna=one, otto=two)
    with pytest.raises(AudioError, match="2 speakers, but 1 estimates"):
        evaluate_speakers(truth, write_talk(tmp_path / "found", a=one))
    with pytest.raises(UsageError, match="no such folder"):
        evaluate_speakers(truth, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no estimates"):
        evaluate_speakers(truth, tmp_path / "empty")
    assert main(["evaluate", "--speakers", str(truth), "-m", "x"]) == 2
    assert "separate first" in capsys.readouterr().err
