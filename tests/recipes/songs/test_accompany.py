"""Accompaniments stay in their sections."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import chord_form

from songs.composition import accompany


@pytest.mark.parametrize("role", [*accompany.PLAYERS, "melody"])
def test_accompaniment_stays_in_its_sections(role: str) -> None:
    form = chord_form(bars=8)
    notes = accompany.accompany(np.random.default_rng(1), form, "other0", role, 60.0)
    assert notes
    assert all(0 <= note.start < form.beats and note.beats > 0 and 1 <= note.velocity <= 127 for note in notes)
    assert not accompany.accompany(np.random.default_rng(1), form, "other1", role, 60.0)
