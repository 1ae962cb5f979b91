"""A run's log as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from toy_task import ToyTask

from stemsplit.training import loop
from stemsplit.training.curve import draw_curve


def test_a_run_draws_its_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    loop.train(ToyTask(tmp_path))
    curve = (tmp_path / "curve.png").read_bytes()
    assert curve.startswith(b"\x89PNG")
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "dev": {"a": 1.0, "b": 2.0}}\n{"st')
    assert draw_curve(tmp_path) == tmp_path / "curve.png"
    assert (tmp_path / "curve.png").read_bytes() not in (curve, b"")
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_no_curve_without_a_log_or_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert draw_curve(tmp_path) is None
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw_curve(tmp_path) is None
    assert not (tmp_path / "curve.png").exists()
