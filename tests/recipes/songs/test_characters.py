"""Singers' characters."""

from __future__ import annotations

import numpy as np

from songs.voices import characters


def test_characters_span_deep_men_and_children_from_either_voice() -> None:
    rng = np.random.default_rng(0)
    for tract, recorded_at in ((1.0, 66.0), (0.86, 50.0)):
        drawn = [characters.choose_character(rng, tract, recorded_at) for _ in range(400)]
        assert {name for name, _, _ in drawn} == {"own", *(c.name for c in characters.CHARACTERS)}
        assert all(0.72 <= formant <= 1.35 for _, formant, _ in drawn)
        made = {name: [(f, c) for n, f, c in drawn if n == name] for name in ("bass", "child")}
        assert max(f * tract for f, _ in made["bass"]) < 0.85 < 1.1 < min(f * tract for f, _ in made["child"])
        assert max(centre for _, centre in made["bass"]) < 48 < 62 < min(centre for _, centre in made["child"])
