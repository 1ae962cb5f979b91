"""Scores of melodies: mir_eval's own figures, its traps mended, and files paired by name."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.cli import main
from stemsplit.errors import StemsplitError, UsageError
from stemsplit.evaluation.melody import (
    FIGURES,
    MelodyScore,
    contour_files,
    evaluate_melodies,
    mean_score,
    score_melody,
    total_score,
    track_name,
)
from stemsplit.melody.contour import Contour

melody = pytest.importorskip("mir_eval.melody")


def contour(hz: list[float], hop: float = 0.01) -> Contour:
    """A contour in which 0 Hz is silence, and below 0 stands the guess of a silent frame."""
    given = np.array(hz, np.float64)
    return Contour(hop, np.abs(given), (given > 0).astype(np.float32), given > 0)


def figures(score: MelodyScore) -> list[float]:
    return [getattr(score, name) for name in FIGURES]


def test_a_melody_is_all_right_against_itself() -> None:
    score = score_melody(contour([0, 220, 220, 0]), contour([0, 220, 220, 0]))
    assert figures(score) == [1, 1, 1, 1, 0]
    assert (score.frames, score.voiced_frames) == (4, 2)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        ([0, 0, 300, 300, 300], [1, 1, 1, 1, 0]),
        ([0, 0, 600, 300, 150], [3 / 5, 1 / 3, 1, 1, 0]),  # octaves up and down
        ([0, 0, 303, 300, 313], [4 / 5, 2 / 3, 2 / 3, 1, 0]),  # 17 cents are right, 73 are not
        ([-90, 0, -300, 300, 300], [4 / 5, 1, 1, 2 / 3, 0]),  # a right guess in a frame taken for silent
        ([90, 0, 300, 300, 300], [4 / 5, 1, 1, 1, 1 / 2]),  # a false alarm
        ([0, 0, 0, 0, 0], [2 / 5, 0, 0, 0, 0]),
    ],
)
def test_each_figure_counts_what_it_says(estimate: list[float], expected: list[float]) -> None:
    score = score_melody(contour([0, 0, 300, 300, 300]), contour(estimate))
    assert figures(score) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::UserWarning:mir_eval")
@settings(deadline=None, max_examples=20)
@given(
    true=st.lists(st.sampled_from([0.0, 100.0, 220.0, 440.0]), min_size=2, max_size=20),
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=120, max_size=120),
    pitches=st.lists(st.floats(60, 1000), min_size=120, max_size=120),
    hop=st.sampled_from([0.005, 0.01, 0.016]),
)
def test_figures_are_those_of_mir_eval(true: list[float], signs: list[float], pitches: list[float], hop: float) -> None:
    """Where it defines them and the estimate is long enough: times at 10 ms against three hops."""
    enough = math.ceil(len(true) * 0.01 / hop) + 2
    hz = (np.array(signs) * np.array(pitches))[:enough]
    expected = melody.evaluate(np.arange(len(true)) * 0.01, np.array(true), np.arange(len(hz)) * hop, hz)
    score = score_melody(contour(true), contour(list(hz), hop))
    names = ("Overall Accuracy", "Raw Pitch Accuracy", "Raw Chroma Accuracy", "Voicing Recall", "Voicing False Alarm")
    for name, value in zip(names, figures(score), strict=True):
        assert math.isnan(value) or value == pytest.approx(expected[name]), name


def test_hops_need_not_be_equal() -> None:
    glide = 220 * 2 ** (np.arange(401) / 400)
    fine, coarse = contour(list(glide), 0.01), contour(list(glide[::2]), 0.02)
    for true, estimate in ((fine, coarse), (coarse, fine)):
        assert figures(score_melody(true, estimate))[:4] == [1, 1, 1, 1]


def test_an_estimate_that_ends_early_is_silent_for_the_rest() -> None:
    """mir_eval alone would go on with its last frame, and call 300 Hz right to the end."""
    true = contour([300.0] * 10)
    assert figures(score_melody(true, contour([300.0] * 4)))[:4] == pytest.approx([0.4] * 4)
    assert figures(score_melody(true, contour([300.0] * 9)))[:4] == pytest.approx([0.9] * 4)
    assert figures(score_melody(true, contour([300.0] * 30)))[:4] == [1, 1, 1, 1]
    assert figures(score_melody(contour([300.0] * 5, 0.02), contour([300.0] * 9)))[:4] == [1, 1, 1, 1]
    assert figures(score_melody(true, contour([])))[:4] == [0, 0, 0, 0]


@pytest.mark.parametrize("frames", [1, 2])
def test_a_frame_or_two_are_enough(frames: int) -> None:
    assert figures(score_melody(contour([300.0] * frames), contour([300.0])))[0] == 1 / frames
    assert figures(score_melody(contour([300.0]), contour([300.0] * frames)))[0] == 1


def test_what_is_not_defined_is_nan() -> None:
    silent = score_melody(contour([0, 0, 0, 0]), contour([0, 0, 0, 200]))
    assert silent.overall_accuracy == 0.75
    assert silent.voicing_false_alarm == 0.25
    assert all(math.isnan(value) for value in figures(silent)[1:4])
    assert math.isnan(score_melody(contour([200, 200]), contour([200, 200])).voicing_false_alarm)


def test_a_reference_of_no_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="without a single frame"):
        score_melody(contour([]), contour([200]))


def test_nothing_is_said_about_silence(recwarn: pytest.WarningsRecorder) -> None:
    score_melody(contour([0, 0, 0]), contour([0, 0]))
    score_melody(contour([0]), contour([]))
    assert not recwarn.list


def test_many_minutes_are_scored_in_a_moment() -> None:
    hz = 200 + 50 * np.sin(np.arange(1200 * 100) / 1000)
    assert score_melody(contour(list(hz[::2]), 0.02), contour(list(hz))).raw_pitch_accuracy == 1


def test_without_mir_eval_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mir_eval.melody", None)
    with pytest.raises(UsageError, match=r"pip install 'stemsplit-mamba\[eval\]'"):
        score_melody(contour([200]), contour([200]))


# --- means


def test_means_count_tracks_and_totals_count_frames() -> None:
    short = MelodyScore(1.0, 1.0, 1.0, 1.0, 0.0, frames=10, voiced_frames=8)
    long = MelodyScore(0.5, 0.25, 0.5, 0.5, 0.5, frames=90, voiced_frames=24)
    mean, total = mean_score([short, long]), total_score([short, long])
    assert figures(mean) == pytest.approx([0.75, 0.625, 0.75, 0.75, 0.25])
    weighed = [(10 + 45) / 100, (8 + 6) / 32, (8 + 12) / 32, (8 + 12) / 32, 33 / 68]
    assert figures(total) == pytest.approx(weighed)
    assert (mean.frames, mean.voiced_frames) == (total.frames, total.voiced_frames) == (100, 32)


def test_a_total_is_the_score_of_all_frames_in_a_row() -> None:
    rng = np.random.default_rng(0)
    true = [list(rng.choice([0.0, 200.0, 300.0], n)) for n in (5, 40, 17)]
    mine = [list(rng.choice([0.0, 200.0, 300.0, -200.0], n)) for n in (5, 40, 17)]
    parts = [score_melody(contour(a), contour(b)) for a, b in zip(true, mine, strict=True)]
    whole = score_melody(contour([*chain(*true)]), contour([*chain(*mine)]))
    assert figures(total_score(parts)) == pytest.approx(figures(whole))


def test_what_is_not_defined_stays_out_of_means() -> None:
    some = MelodyScore(1.0, 0.5, 0.5, 0.5, 0.0, frames=10, voiced_frames=10)
    none = MelodyScore(0.5, math.nan, math.nan, math.nan, 1.0, frames=10, voiced_frames=0)
    for averaged in (mean_score([some, none]), total_score([some, none])):
        assert averaged.overall_accuracy == 0.75
        assert averaged.raw_pitch_accuracy == 0.5
    assert math.isnan(mean_score([none]).raw_pitch_accuracy)
    assert all(math.isnan(value) for value in figures(mean_score([])) + figures(total_score([])))
    assert total_score([replace(some, voicing_false_alarm=math.nan), none]).voicing_false_alarm == 1


# --- files


@pytest.mark.parametrize(
    ("name", "track"),
    [
        ("song.f0.csv", "song"),
        ("song.f0.sv.csv", "song"),
        ("song.F0.TXT", "song"),
        ("a.b c.csv", "a.b c"),
        ("été.txt", "été"),
        ("song", "song"),
        (".csv", ".csv"),
        ("song.csv.f0", "song.csv"),
    ],
)
def test_a_track_is_its_name_without_suffixes(name: str, track: str) -> None:
    assert track_name(name) == track


def write(path: Path, hz: list[float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".txt"):
        rows = [f"{i * 0.01:.3f}\t{value:.3f}" for i, value in enumerate(hz)]
    else:
        rows = ["time,frequency,confidence"]
        rows += [f"{i * 0.01:.3f},{max(value, 0):.3f},{float(value > 0):.3f}" for i, value in enumerate(hz)]
    path.write_text("\n".join(rows) + "\n")
    return path


MELODY = [0.0] * 10 + [220.0] * 30 + [0.0] * 10
SHARP = [0.0] * 10 + [240.0] * 15 + [220.0] * 15 + [0.0] * 10


def test_two_files_are_compared_whatever_their_names(tmp_path: Path) -> None:
    found = evaluate_melodies(write(tmp_path / "true.csv", MELODY), write(tmp_path / "mine.f0.txt", SHARP))
    assert [track.track for track in found.tracks] == ["true"]
    assert found.tracks[0].score.raw_pitch_accuracy == pytest.approx(0.5)
    assert found.missing == ()


def test_folders_are_paired_by_name(tmp_path: Path) -> None:
    write(tmp_path / "true" / "one.csv", MELODY)
    write(tmp_path / "true" / "deep" / "two ♪.f0.txt", MELODY)
    write(tmp_path / "true" / "three.csv", MELODY)
    write(tmp_path / "mine" / "one.f0.txt", MELODY)
    write(tmp_path / "mine" / "deep" / "two ♪.f0.csv", SHARP)
    write(tmp_path / "mine" / "extra.f0.csv", SHARP)
    for ignored in ("one.notes.csv", "README.txt", ".one.csv", "one.mid", "stemsplit.json"):
        (tmp_path / "mine" / ignored).write_text("no contour")
    found = evaluate_melodies(tmp_path / "true", tmp_path / "mine")
    assert [track.track for track in found.tracks] == ["deep/two ♪", "one"]
    assert found.missing == ("three",)
    assert [track.score.overall_accuracy for track in found.tracks] == pytest.approx([0.7, 1.0])


def test_a_file_finds_its_name_in_a_folder(tmp_path: Path) -> None:
    true = write(tmp_path / "one.csv", MELODY)
    write(tmp_path / "mine" / "one.f0.csv", SHARP)
    write(tmp_path / "mine" / "two.f0.csv", SHARP)
    assert len(evaluate_melodies(true, tmp_path / "mine").tracks) == 1
    found = evaluate_melodies(tmp_path / "mine", true)
    assert ([track.track for track in found.tracks], found.missing) == (["one"], ("two",))


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    true = write(tmp_path / "true" / "one.csv", MELODY).parent
    (tmp_path / "stems").mkdir()
    (tmp_path / "stems" / "vocals.wav").write_bytes(b"RIFF")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "other" / "two.csv", MELODY)
    write(tmp_path / "twice" / "one.f0.csv", MELODY)
    write(tmp_path / "twice" / "one.f0.txt", MELODY)
    for path, reason in {
        "nowhere": "no such file or folder",
        "stems": "holds audio: stems are scored without --melody",
        "stems/vocals.wav": "`stemsplit melody` writes one",
        "empty": "no contours in it",
        "other": "no track in common",
        "twice": r"one\.f0\.csv and one\.f0\.txt are of one track",
    }.items():
        with pytest.raises(UsageError, match=reason):
            evaluate_melodies(true, tmp_path / path)
        with pytest.raises(UsageError, match=reason):
            evaluate_melodies(tmp_path / path, true)


def test_a_file_that_is_no_contour_is_refused(tmp_path: Path) -> None:
    true = write(tmp_path / "one.csv", MELODY)
    for name, text in (("empty.csv", ""), ("words.csv", "once,upon,a\ntime,there,was\n"), ("nul.csv", "\0\0\0")):
        (tmp_path / name).write_text(text)
        for pair in ((true, tmp_path / name), (tmp_path / name, true)):
            with pytest.raises(StemsplitError, match=name):
                evaluate_melodies(*pair)


def test_a_folder_of_contours_is_found_by_the_names_in_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "b" / "c.f0.csv", MELODY)
    assert contour_files(tmp_path) == {"a/b/c": path}
    assert contour_files(path) == {"c": path}


# --- the command


def test_the_command_prints_a_table_of_percents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, second in (("true", MELODY), ("mine", SHARP)):
        write(tmp_path / folder / "a.f0.csv", MELODY)
        write(tmp_path / folder / "b.f0.csv", second)
    assert main(["evaluate", "--melody", str(tmp_path / "true"), str(tmp_path / "mine")]) == 0
    told = capsys.readouterr()
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[0][0] == "track"
    assert rows[1] == ["a", "100.00", "100.00", "100.00", "100.00", "0.00", "50"]
    assert rows[2] == ["b", "70.00", "50.00", "50.00", "100.00", "0.00", "50"]
    assert rows[3][-6:] == ["85.00", "75.00", "75.00", "100.00", "0.00", "100"]
    assert len(rows) == 5
    assert told.err == ""


def test_the_command_prints_json_and_fails_when_an_estimate_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "true" / "a.csv", [0.0] * 20)
    write(tmp_path / "true" / "b.csv", MELODY)
    write(tmp_path / "mine" / "a.csv", [0.0] * 20)
    assert main(["evaluate", "--melody", str(tmp_path / "true"), str(tmp_path / "mine"), "--json"]) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["missing"] == ["b"]
    assert found["tracks"][0]["track"] == "a"
    assert found["tracks"][0]["overall_accuracy"] == 1
    assert found["mean"]["raw_pitch_accuracy"] is None
    assert found["total"]["frames"] == 20
    assert "b has no estimate" in told.err


def test_the_command_explains_a_mix_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    melody = write(tmp_path / "a.f0.csv", MELODY)
    (tmp_path / "stems").mkdir()
    (tmp_path / "stems" / "vocals.wav").write_bytes(b"")
    assert main(["evaluate", "--melody", str(tmp_path / "stems"), str(tmp_path / "stems")]) == 2
    assert "stems are scored without --melody" in capsys.readouterr().err
    assert main(["evaluate", str(melody), str(melody)]) == 2
    assert "--melody" in capsys.readouterr().err
