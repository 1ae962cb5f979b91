"""Contours are written as other programs expect them, whole or not at all, and read back as they were."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.errors import AudioError, OutputError, UsageError
from stemsplit.melody.contour import Contour
from stemsplit.melody.formats import DEFAULT_HOP, FORMATS, format_named, read_contour, write_contour


def contour(hop: float = 0.01, frames: int = 4) -> Contour:
    """220.1234, 221 …; the second and the last frame are unvoiced."""
    voiced = np.ones(frames, dtype=bool)
    voiced[[1, -1]] = False
    frequency = 220.1234 + np.arange(frames)
    return Contour(hop, frequency, np.where(voiced, 0.875, 0.25).astype(np.float32), voiced)


def written(tmp_path: Path, made: Contour, name: str) -> str:
    path = tmp_path / f"song.{FORMATS[name].suffix}"
    write_contour(path, made, name)
    return path.read_bytes().decode()


def reading(tmp_path: Path, text: str | bytes) -> Contour:
    path = tmp_path / "read.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_contour(path)


def test_csv_is_what_users_of_crepe_know(tmp_path: Path) -> None:
    assert written(tmp_path, contour(), "csv") == (
        "time,frequency,confidence\n"
        "0.000,220.123,0.875000\n0.010,0.000,0.250000\n0.020,222.123,0.875000\n0.030,0.000,0.250000\n"
    )


def test_mirex_keeps_the_guess_below_zero(tmp_path: Path) -> None:
    assert written(tmp_path, contour(), "mirex") == "0.000\t220.123\n0.010\t-221.123\n0.020\t222.123\n0.030\t-223.123\n"


def test_sv_has_voiced_points_only(tmp_path: Path) -> None:
    assert written(tmp_path, contour(), "sv") == "0.000,220.123\n0.020,222.123\n"


def test_suffixes_differ_and_names_are_known() -> None:
    assert list(FORMATS) == ["csv", "mirex", "sv"]
    assert len({row.suffix for row in FORMATS.values()}) == 3
    assert format_named("CSV").suffix == "f0.csv"
    with pytest.raises(UsageError, match="csv, mirex, sv"):
        format_named("midi")


@pytest.mark.parametrize(
    ("hop", "second"),
    [
        (0.01, "0.010"),
        (0.1, "0.100"),
        (0.0025, "0.0025"),
        (0.005, "0.005"),
        (256 / 44100, "0.005805"),
        (1 / 3, "0.333333"),
    ],
)
def test_times_have_the_decimals_that_the_hop_needs(tmp_path: Path, hop: float, second: str) -> None:
    lines = written(tmp_path, contour(hop), "csv").splitlines()
    assert lines[2].split(",")[0] == second
    assert len({len(line.split(",")[0]) for line in lines[1:]}) == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("hop", [0.01, 0.0025, 256 / 44100, 0.032])
def test_it_comes_back(tmp_path: Path, name: str, hop: float) -> None:
    made = contour(hop, frames=5000)
    path = tmp_path / "song"
    write_contour(path, made, name)
    back = read_contour(path)
    frames = 4999 if name == "sv" else 5000  # silence at the end is not in an sv file
    assert len(back) == frames
    assert back.hop == pytest.approx(hop, abs=1e-9)
    np.testing.assert_array_equal(back.voiced, made.voiced[:frames])
    np.testing.assert_allclose(back.frequency[back.voiced], made.frequency[:frames][back.voiced], atol=6e-4)
    guesses = made.frequency if name == "mirex" else np.zeros(5000)
    np.testing.assert_allclose(back.frequency[~back.voiced], guesses[:frames][~back.voiced], atol=6e-4)
    expected = made.confidence if name == "csv" else made.voiced
    np.testing.assert_allclose(back.confidence, expected[:frames], atol=1e-6)


@given(
    st.lists(st.tuples(st.floats(50, 2000), st.booleans(), st.floats(0, 1)), max_size=60),
    st.sampled_from([0.001, 0.0058, 0.01, 0.0232, 0.5]),
)
@settings(max_examples=50, deadline=None)
def test_any_contour_survives_csv(tmp_path_factory: pytest.TempPathFactory, rows: list, hop: float) -> None:
    frequency, voiced, confidence = (np.array([row[column] for row in rows]) for column in range(3))
    made = Contour(hop, frequency.astype(float), confidence.astype(np.float32), voiced.astype(bool))
    path = tmp_path_factory.mktemp("any") / "song.f0.csv"
    write_contour(path, made)
    back = read_contour(path)
    np.testing.assert_array_equal(back.voiced, made.voiced)
    np.testing.assert_allclose(back.frequency, np.where(made.voiced, made.frequency, 0), atol=6e-4)
    np.testing.assert_allclose(back.confidence, made.confidence, atol=1e-6)
    assert back.hop == (pytest.approx(hop) if len(rows) > 1 else DEFAULT_HOP)


@pytest.mark.parametrize("name", FORMATS)
def test_one_frame_and_silence(tmp_path: Path, name: str) -> None:
    for frames, sung in ((1, True), (1, False), (30, False)):
        voiced = np.full(frames, sung)
        path = tmp_path / f"song.{FORMATS[name].suffix}"
        write_contour(path, Contour(0.01, np.full(frames, 220.0), voiced.astype(np.float32), voiced), name)
        back = read_contour(path)
        assert back.voiced.sum() == (frames if sung else 0)
        assert len(back) == (0 if name == "sv" and not sung else frames)


def test_no_frames(tmp_path: Path) -> None:
    made = Contour(0.01, np.empty(0), np.empty(0, dtype=np.float32), np.empty(0, dtype=bool))
    assert written(tmp_path, made, "csv") == "time,frequency,confidence\n"
    assert len(reading(tmp_path, "time,frequency,confidence\n")) == 0
    assert written(tmp_path, made, "mirex") == ""
    with pytest.raises(AudioError, match="it is empty"):
        reading(tmp_path, "")


def test_a_hole_in_sv_is_unvoiced(tmp_path: Path) -> None:
    made = contour(frames=2000)
    made.voiced[300:1500] = False
    back = reading(tmp_path, written(tmp_path, made, "sv"))
    np.testing.assert_array_equal(back.voiced, made.voiced[:1999])
    rounded = "".join(f"{index * 0.0058:.3f},200.0\n" for index in [*range(9, 400), *range(3000, 3400)])
    back = reading(tmp_path, rounded)
    assert back.hop == pytest.approx(0.0058, abs=2e-6)
    assert np.abs(back.times[back.voiced][391] - 3000 * 0.0058) < 0.004


@pytest.mark.parametrize(
    "text",
    [
        "0.00 220\n0.01 0\n0.02 -221\n",
        "0.00\t220\n0.01\t0\n0.02\t-221\n",
        "# from somewhere\n\n0.00,220\r\n0.01,nan\r\n0.02,-221\r\n",
        "time;f0\n0.00; 220\n0.01; 0\n0.02; -221",
        '"Time (s)","F0","label"\n0.00,220,New Point\n0.01,0,\n0.02,-221,\n',
        "\ufefftime,frequency\n0.00,220\n0.01,0\n0.02,-221\n",
        "timestamp,pitch_hz,level\n0.00,220,-12\n0.01,0,-90\n0.02,-221,-3\n",
    ],
)
def test_files_of_others(tmp_path: Path, text: str) -> None:
    back = reading(tmp_path, text)
    assert back.hop == pytest.approx(0.01)
    assert back.frequency.tolist() == [220, 0, 221]
    assert back.voiced.tolist() == [True, False, False]
    assert back.confidence.tolist() == [1, 0, 0]


def test_times_need_not_begin_at_zero(tmp_path: Path) -> None:
    late = reading(tmp_path, "0.02 220\n0.04 221\n0.06 222\n")  # MIR-1K
    assert late.frequency.tolist() == [0, 220, 221, 222]
    centred = reading(tmp_path, "0.005 220\n0.015 221\n0.025 222\n0.035 223\n0.045 224\n")
    assert centred.frequency[-5:].tolist() == [220, 221, 222, 223, 224]
    assert abs(centred.times[-1] - 0.045) <= 0.005 + 1e-9


@pytest.mark.parametrize(
    "text",
    [
        "hello\n",
        "0.00\n0.01\n",
        "onset,duration,midi,name,hz,cents\n0.1,0.5,57,A3,220.0,0.0\n",
        "time,frequency\n0.00,220\nword,220\n",
        "0.00,220\n0.00,221\n",
        "0.02,220\n0.01,221\n",
        "0.00,220\n0.01,220\n0.02,220\n0.03,220\n0.033,220\n0.04,220\n",
        "nan,220\n",
        "-0.01,220\n0.0,220\n",
        "0.00,inf\n",
        "0.00,220\n0.01,220\n1e9,220\n",
        b"RIFF\x00\x00\x00\x00WAVEfmt \xff\xfe",
    ],
)
def test_what_is_no_contour_is_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(AudioError, match=r"read\.csv is no contour: "):
        reading(tmp_path, text)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(AudioError, match="cannot read"):
            read_contour(path)


@pytest.mark.parametrize("name", ["sömë sông 🎵.f0.csv", "a,b;c.f0.csv", " .f0.csv", "x" * 200 + ".f0.csv"])
def test_odd_names_and_new_folders(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new folder" / name
    write_contour(path, contour())
    assert [found.name for found in path.parent.iterdir()] == [name]
    assert len(read_contour(path)) == 4


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    taken = tmp_path / "song.f0.csv"
    taken.mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*song\.f0\.csv"):
        write_contour(taken, contour())
    assert list(tmp_path.iterdir()) == [taken]
    with pytest.raises(UsageError):
        write_contour(tmp_path / "other", contour(), "xml")
    assert list(tmp_path.iterdir()) == [taken]


@pytest.mark.skipif(sys.platform == "win32" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="permission denied"):
            write_contour(tmp_path / "song.f0.csv", contour())
    finally:
        tmp_path.chmod(0o700)


def test_mir_eval_reads_it(tmp_path: Path) -> None:
    mir_eval = pytest.importorskip("mir_eval")
    made = contour(frames=50)
    mirex = tmp_path / "song.f0.txt"
    write_contour(mirex, made, "mirex")
    times, hertz = mir_eval.io.load_time_series(str(mirex), delimiter="\t")
    np.testing.assert_allclose(times, made.times)
    np.testing.assert_allclose(hertz, np.where(made.voiced, made.frequency, -made.frequency), atol=6e-4)
    reference = np.where(made.voiced, made.frequency, 0)
    scores = mir_eval.melody.evaluate(made.times, reference, times, hertz)
    assert scores["Overall Accuracy"] == 1

    # Three columns and a bare header are not for its reader; without both, csv is.
    csv = tmp_path / "song.f0.csv"
    write_contour(csv, made, "csv")
    two = tmp_path / "two.csv"
    lines = csv.read_text().splitlines()
    two.write_text("".join("#" * (not at) + line.rsplit(",", 1)[0] + "\n" for at, line in enumerate(lines)))
    times, hertz = mir_eval.io.load_time_series(str(two), delimiter=",")
    np.testing.assert_allclose(hertz, reference, atol=6e-4)
    assert mir_eval.melody.evaluate(made.times, reference, times, hertz)["Overall Accuracy"] == 1


@pytest.mark.parametrize("name", list(FORMATS))
def test_memory_does_not_grow_with_the_length(tmp_path: Path, name: str) -> None:
    def peak(frames: int) -> int:
        made = contour(frames=frames)
        tracemalloc.start()
        try:
            write_contour(tmp_path / "a", made, name)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(24_000) < peak(8_000) + 100_000
