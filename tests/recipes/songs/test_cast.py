"""Who plays."""

from __future__ import annotations

import numpy as np

from songs.composition.cast import FULL, draw_cast
from songs.mix.mixdown import STEMS


def test_most_songs_have_everybody_and_all_others_somebody() -> None:
    rng = np.random.default_rng(0)
    casts = [draw_cast(rng) for _ in range(600)]
    assert 0.55 < casts.count(FULL) / 600 < 0.77
    for cast in set(casts):
        assert cast.absent < set(STEMS)
        assert not cast.lead or cast.absent == {"vocals"}
        assert not cast.kick_only or not {"drums", "bass"} & cast.absent
    assert {cast.name for cast in casts} >= {"no bass", "bass alone", "kick and sub", "lead instrument"}
