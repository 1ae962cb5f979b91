"""Computed rooms."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import spectrum

from songs.mix import rooms


def test_rooms_die_away_treble_first() -> None:
    for seed in range(5):
        room = rooms.synthetic_room(np.random.default_rng(seed))
        assert room.shape[0] == 2
        assert np.isfinite(room).all()
        third = room.shape[1] // 3
        assert (room[:, -third:] ** 2).sum() < 0.05 * (room[:, :third] ** 2).sum() + 1e-9
        hertz, early = spectrum(room[:, third // 2 : third])
        _, late = spectrum(room[:, -third // 2 :])
        share = [power[:, hertz[: power.shape[1]] > 6000].sum() / power.sum() for power in (early, late)]
        assert share[1] < share[0] * 1.2
