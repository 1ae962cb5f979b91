"""The picture of a melody: its size, and that what it should show can be seen in its pixels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stemsplit.errors import OutputError, UsageError
from stemsplit.melody import plot
from stemsplit.melody.contour import Contour
from stemsplit.melody.notes import Notes, find_notes
from stemsplit.melody.plot import CONTOUR_COLOUR, VOICED_COLOUR, Spectrogram, clock, plot_melody

matplotlib = pytest.importorskip("matplotlib")
HOP = 0.01


def contour_of(semitones: np.ndarray, hop: float = HOP) -> Contour:
    semitones = np.asarray(semitones, float)
    voiced = ~np.isnan(semitones)
    hz = 440 * 2 ** ((np.where(voiced, semitones, 69.0) - 69) / 12)
    return Contour(hop, hz, np.where(voiced, 0.9, 0.1).astype(np.float32), voiced)


def heard(seconds: float) -> Spectrogram:
    spectrogram = Spectrogram()
    time = np.arange(round(seconds * 16_000)) / 16_000
    spectrogram.add((0.1 * np.sin(2 * np.pi * 300 * time)).astype(np.float32))
    return spectrogram


def pixels(path: Path) -> np.ndarray:
    """(height, width, 3) from 0 to 255."""
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.round(imread(path)[:, :, :3] * 255).astype(int)


def of_colour(image: np.ndarray, colour: str, tolerance: int = 3) -> np.ndarray:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(image - wanted) <= tolerance).all(axis=2)


def columns_of(image: np.ndarray, colour: str) -> np.ndarray:
    """Which columns hold a colour, below the legend."""
    return np.flatnonzero(of_colour(image[50:], colour).any(axis=0))


STEPS = np.concatenate([np.full(100, np.nan), np.full(100, 62.0), np.full(100, np.nan), np.full(100, 67.0)])


def test_the_contour_is_where_it_is_sung(tmp_path: Path) -> None:
    contour = contour_of(STEPS)
    plot_melody(tmp_path / "x.png", contour, find_notes(contour), heard(4.0), "a melody")
    image = pixels(tmp_path / "x.png")
    assert image.shape == (588, 1400, 3)
    found = columns_of(image, CONTOUR_COLOUR)
    second = (1400 - 70 - 60) / 4
    expected = np.concatenate([np.arange(70 + second, 70 + 2 * second), np.arange(70 + 3 * second, 70 + 4 * second)])
    assert len(np.intersect1d(found, np.floor(expected))) > 0.97 * len(expected)
    assert len(found) < 1.03 * len(expected) + 8
    low, high = (
        of_colour(image[50:], CONTOUR_COLOUR)[:, round(at)].argmax() for at in (70 + 1.5 * second, 70 + 3.5 * second)
    )
    assert low > high + 50  # a fourth and more, upwards


def test_notes_are_bars_in_blue(tmp_path: Path) -> None:
    contour = contour_of(STEPS)
    for name, notes in (("with", find_notes(contour)), ("without", None)):
        plot_melody(tmp_path / name, contour, notes, Spectrogram(), "")
    blue = [
        ((image := pixels(tmp_path / name))[50:490, :, 2] - image[50:490, :, 0] > 40).sum()
        for name in ("with", "without")
    ]
    assert blue[0] > blue[1] + 5000


def test_confidence_is_green_where_it_is_sung(tmp_path: Path) -> None:
    contour = contour_of(STEPS)
    plot_melody(tmp_path / "x.png", contour, None, Spectrogram(), "")
    assert len(columns_of(pixels(tmp_path / "x.png"), VOICED_COLOUR)) == pytest.approx(1270 / 2, rel=0.03)


def test_the_spectrogram_is_behind_it(tmp_path: Path) -> None:
    for name, spectrogram in (("with", heard(4.0)), ("without", Spectrogram())):
        plot_melody(tmp_path / name, contour_of(STEPS), None, spectrogram, "")
    dark = [(pixels(tmp_path / name)[60:480, 80:1330] < 150).all(axis=2).sum() for name in ("with", "without")]
    assert dark[0] > dark[1] + 5000


@pytest.mark.parametrize(
    ("seconds", "lines", "line_seconds"), [(0, 1, 0.1), (40, 1, 40), (241, 9, 30), (7200, 16, 450)]
)
def test_long_songs_get_more_lines_up_to_a_page(seconds: int, lines: int, line_seconds: float) -> None:
    page = plot._page(contour_of(STEPS), seconds)
    assert (page.lines, page.line_seconds) == (lines, line_seconds)
    assert page.height < 6000


def test_a_song_of_two_lines(tmp_path: Path) -> None:
    contour = contour_of(np.full(1000, 60.0), 0.05)
    plot_melody(tmp_path / "x.png", contour, None, Spectrogram(), "long")
    image = pixels(tmp_path / "x.png")
    assert image.shape == (52 + 2 * (230 + 6 + 44 + 34) - 34 + 46, 1400, 3)
    rows = of_colour(image[50:], CONTOUR_COLOUR).sum(axis=1) > 50
    assert (np.diff(rows.astype(int)) == 1).sum() == 2


@pytest.mark.parametrize(
    "semitones",
    [[], [60.0], [np.nan], [np.nan] * 300, [60, np.nan] * 50],
    ids=["no", "one", "unvoiced", "silent", "dots"],
)
def test_hardly_any_melody(tmp_path: Path, semitones: list[float]) -> None:
    contour = contour_of(np.array(semitones))
    plot_melody(tmp_path / "x.png", contour, find_notes(contour), heard(len(semitones) * HOP), "little")
    image = pixels(tmp_path / "x.png")
    assert image.shape == (588, 1400, 3)
    assert (len(columns_of(image, CONTOUR_COLOUR)) > 0) == (60 in semitones)


def test_nan_confidence_and_extreme_pitches_are_drawn(tmp_path: Path) -> None:
    contour = contour_of(np.array([10.0, 130.0] * 50))
    contour.confidence[:] = np.nan
    plot_melody(tmp_path / "x.png", contour, None, heard(1), "wild")


@pytest.mark.parametrize("title", ["$x_{1$ %s 夜に駆ける", "two\nlines\x00\x07 \udcff", "W" * 300])
def test_any_title(tmp_path: Path, title: str, recwarn: pytest.WarningsRecorder) -> None:
    plot_melody(tmp_path / "x.png", contour_of(STEPS), Notes(440.0, ()), Spectrogram(), title)
    image = pixels(tmp_path / "x.png")
    assert image.shape == (588, 1400, 3)
    legend = of_colour(image[:50], CONTOUR_COLOUR).any(axis=0).argmax()
    assert (image[:50, legend - 15 : legend - 5] == 255).all()  # the title stops before it
    assert not recwarn.list


def test_the_same_melody_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        plot_melody(tmp_path / name, contour_of(STEPS), None, heard(4), "same")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_picture_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"):
        plot_melody(tmp_path / "taken", contour_of(STEPS), None, Spectrogram(), "")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(UsageError, match=r"pip install 'stemsplit-mamba\[plot\]'"):
        plot_melody(tmp_path / "x.png", contour_of(STEPS), None, Spectrogram(), "")
    assert list(tmp_path.iterdir()) == []


def test_nothing_outside_of_the_picture_changes(tmp_path: Path) -> None:
    """Without a screen, with the user's own style, and without pyplot."""
    (tmp_path / "matplotlibrc").write_text(
        "savefig.bbox: tight\nfigure.constrained_layout.use: true\nbackend: tkagg\nsavefig.dpi: 37\nfigure.dpi: 200\n"
    )
    code = (
        "import sys, numpy as np, matplotlib as m; before = dict(m.rcParams)\n"
        "from stemsplit.melody.contour import Contour\n"
        "import stemsplit.melody.plot as p\n"
        "c = Contour(0.01, np.full(50, 220.0), np.ones(50, np.float32), np.ones(50, bool))\n"
        "p.plot_melody(sys.argv[1], c, None, p.Spectrogram(), 'x')\n"
        "assert dict(m.rcParams) == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
    environment["MATPLOTLIBRC"] = str(tmp_path / "matplotlibrc")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.png")], env=environment, check=True)
    assert pixels(tmp_path / "x.png").shape == (588, 1400, 3)


def test_matplotlib_is_loaded_when_it_is_needed() -> None:
    code = "import sys, stemsplit.melody.plot, stemsplit.melody.midi; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("seconds", "step", "text"),
    [
        (0, 1, "0:00"),
        (65, 5, "1:05"),
        (3599, 1, "59:59"),
        (7200, 600, "120:00"),
        (0.3, 0.1, "0:00.3"),
        (59.99, 0.5, "1:00.0"),
    ],
)
def test_the_clock(seconds: float, step: float, text: str) -> None:
    assert clock(seconds, step) == text
