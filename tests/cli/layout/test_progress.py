"""The bars: how far, and how long still, where that is known and there is room for it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from stemsplit.cli.layout.progress import showing_bars
from stemsplit.cli.layout.screen import Lines, Screen
from stemsplit.runs.jobs import Job

JOB = Job(Path("song.wav"), "song", "song.wav", {}, Path("out/stemsplit.json"))


def drawn(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, total: float | None) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with showing_bars(Screen(), [JOB]) as bars:
        bars.on_start(JOB, total)
        for seconds in (10, 20, 30):
            bars.on_progress(JOB, seconds)
            time.sleep(0.15)  # it is drawn ten times a second
    return capfd.readouterr().err


@pytest.mark.parametrize(("columns", "left"), [(100, True), (60, True), (40, False)])
def test_the_share_is_always_there_and_the_time_left_where_there_is_room(
    columns: int, left: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = drawn(capfd, monkeypatch, columns, 100.0)
    assert "30%" in seen
    assert (" left" in seen) == left


def test_no_time_is_left_of_what_does_not_say_how_long_it_is(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = drawn(capfd, monkeypatch, 100, None)
    assert "song" in seen
    assert " left" not in seen


def test_a_warning_about_a_pipe_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    screen = Screen()
    monkeypatch.setattr(screen, "write", said.append)
    Lines(screen).on_warning(replace(JOB, source=Path("copy/stdin"), name="-"), "silent: vocals")
    assert said == ["stemsplit: warning: standard input: silent: vocals"]
