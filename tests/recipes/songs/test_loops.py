"""Drum loops: their tempo, and strokes that land on the beats of another tempo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from song_sources import RATE, write_loop

from songs.composition.score import Form, Section
from songs.instruments import loops


def form(tempo: float) -> Form:
    """Four bars of rest, then four of drums."""
    sections = (Section(0, 16, frozenset({"bass"}), "A"), Section(16, 16, frozenset({"drums"}), "B"))
    return Form(tempo, 0, "minor", 0.0, (), sections)


def test_tempos_are_read_or_counted(tmp_path: Path) -> None:
    write_loop(tmp_path / "a" / "120bpm_x.opus", 120, 8, late=0.025, rest=0.04)
    write_loop(tmp_path / "b" / "loop.opus", 130, 16)
    write_loop(tmp_path / "b" / "tiny.opus", 120, 1)
    (tmp_path / "b" / "notes.txt").write_text("")
    found = loops.list_loops(tmp_path)
    assert [(loop.path.name, round(loop.tempo), loop.beats) for loop in found] == [
        ("120bpm_x.opus", 120, 8), ("loop.opus", 130, 16),
    ]  # fmt: skip


def test_loops_near_the_tempo_with_the_word_are_chosen() -> None:
    some = [
        loops.Loop(Path(name), tempo, 8) for name, tempo in (("trap/a", 140.0), ("trap/b", 90.0), ("jazz/c", 140.0))
    ]
    rng = np.random.default_rng(0)
    assert {loops.choose_loop(rng, some, ("trap",), 70.0) for _ in range(20)} == {some[0]}  # half as fast
    assert loops.choose_loop(rng, some, ("jazz",), 105.0) is None
    assert loops.choose_loop(rng, some, ("samba",), 140.0) is None


@pytest.mark.parametrize("tempo", [100.0, 120.0, 130.0])
@pytest.mark.parametrize("seed", range(4))
def test_strokes_land_on_the_beats_of_the_drum_sections(tmp_path: Path, tempo: float, seed: int) -> None:
    path = write_loop(tmp_path / "120bpm_x.opus", 120, 8, late=0.025, rest=0.04)
    song = form(tempo)
    audio = loops.lay_loop(np.random.default_rng(seed), song, loops.Loop(path, 120.0, 8), song.seconds(32) + 1.5)
    assert np.isfinite(audio).all()
    assert not audio[:, : round(song.seconds(16) * RATE) - 100].any()
    assert not audio[:, round(song.seconds(32) * RATE) + 100 :].any()
    for bar in range(4):
        at = round(song.seconds(16 + 4 * bar) * RATE)
        near = np.abs(audio[0, max(0, at - 300) : at + 900])
        assert near.max() > 0.3, bar
        between = np.abs(audio[0, at + 4000 : at + round(song.seconds(1) * RATE) - 2000])
        assert between.max() < 0.1
