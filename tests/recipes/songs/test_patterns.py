"""Bars of drum machines: rows that can be struck."""

from __future__ import annotations

import numpy as np
import pytest

from songs.composition.patterns import PATTERNS, PLAIN
from songs.composition.score import Form, Section
from songs.instruments import drums


@pytest.mark.parametrize("name", ["plain", *PATTERNS])
def test_rows_are_loudnesses_in_a_bar(name: str) -> None:
    rows = PATTERNS.get(name, PLAIN)
    assert "kick" in rows
    for kind, options in rows.items():
        assert kind in drums.LEVELS
        for row in options:
            assert len(row) in (16, 24, 32), (kind, row)
            assert set(row) <= set(".123456789"), (kind, row)


def test_rows_of_any_length_fill_a_bar() -> None:
    form = Form(120.0, 0, "minor", 0.0, (), (Section(0, 4, frozenset({"drums"}), "A"),))
    for row, step in (("9" * 16, 0.25), ("9" * 32, 0.125), ("9" * 24, 1 / 6)):
        hits = drums.programmed(np.random.default_rng(0), form, {"kick": (row,)})
        beats = [hit.beat for hit in hits if hit.key == 36]
        np.testing.assert_allclose(beats, np.arange(len(row)) * step, atol=1e-9)
