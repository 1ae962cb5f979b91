"""Tables at the widths of terminals: nothing is lost, no word is broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from said import Run

from stemsplit.cli.layout import screen
from stemsplit.cli.layout.tables import folded, named_lines, table_lines

WIDTHS = [60, 80, 120]
COLUMNS = ("name", "where", ">size", "description")
ROWS = [
    ("a-model", "shipped", "3.8 MB", "It separates drums, bass, other and vocals, and was trained on rendered songs."),
    ("another-model-by-far", "to download", "", "Short."),
]


def test_a_file_gets_a_row_on_a_line() -> None:
    head, first, second = table_lines(COLUMNS, ROWS, None)
    assert head == "name                  where          size  description"
    assert first.endswith("  3.8 MB  It separates drums, bass, other and vocals, and was trained on rendered songs.")
    assert second == "another-model-by-far  to download          Short."


def test_the_last_column_is_folded() -> None:
    lines = table_lines(COLUMNS, ROWS, 80)
    assert max(map(len, lines)) <= 80
    assert lines[1] == "a-model               shipped      3.8 MB  It separates drums, bass, other and"
    assert lines[2] == " " * 43 + "vocals, and was trained on rendered"


def test_where_it_is_too_narrow_a_row_is_a_paragraph() -> None:
    assert table_lines(COLUMNS, ROWS, 60) == [
        "a-model",
        "  where: shipped; size: 3.8 MB",
        "  description: It separates drums, bass, other and vocals,",
        "  and was trained on rendered songs.",
        "another-model-by-far",
        "  where: to download; description: Short.",
    ]
    numbers = table_lines(("song", ">SDR dB", ">a long name dB"), [("a long name of a song", "1.25", "-2.50")], 40)
    assert numbers == ["a long name of a song", "  SDR dB: 1.25; a long name dB: -2.50"]


def test_a_long_word_stays_whole() -> None:
    assert folded("hash " + 40 * "f" + " end", 20) == ["hash", 40 * "f", "end"]
    assert named_lines("name:", "one two three " * 3, 10, 40) == [
        "name:     one two three one two three",
        "          one two three",
    ]
    assert named_lines("name:", "a b", 10, None) == ["name:     a b"]
    assert named_lines("name:", "", 10, 60) == ["name:"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("words", [["models", "list"], ["models", "info", "ts-bsmamba2-mini"]], ids=" ".join)
def test_a_terminal_gets_lines_that_it_can_show(
    width: int, words: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path))
    plain = set(run(*words).out.replace(";", "").split())
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(screen, "output_columns", lambda: shutil.get_terminal_size().columns)
    said = run(*words).out.replace(";", "")
    assert all(len(line) <= width or len(line.split()) <= 2 for line in said.splitlines())  # a hash, a path
    heads = {"where:", "size:", "stems:", "license:", "description:"}
    assert set(said.split()) - heads <= plain
    assert plain - {"name"} - {head.rstrip(":") for head in heads} <= set(said.split())


def test_scores_of_one_metric_are_told_once(run: Run) -> None:
    lines = run("models", "info", "ts-bsmamba2-mini").out.splitlines()
    scores = lines[[line.startswith("scores:") for line in lines].index(True) :]
    told = json.loads(run("models", "info", "ts-bsmamba2-mini", "--json").out)["scores"]
    known = {(score["dataset"], score["metric"]) for score in told}
    assert len(scores) == len(known) > 2
    assert all(line[:14].strip() in ("scores:", "") for line in scores)
    assert len({line.partition("(")[2] for line in scores}) == len(known)
