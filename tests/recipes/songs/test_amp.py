"""The guitar amplifier: overtones, and the loudspeaker's band."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import RATE, spectrum

from songs.instruments import amp


def test_an_amplifier_adds_overtones_inside_the_cabinets_band() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    added = []
    for seed in range(8):
        hertz, power = spectrum(amp.amplify(np.random.default_rng(seed), np.stack([tone, tone]).astype(np.float32)))
        added.append(power[:, (hertz > 600) & (hertz < 3000)].sum() / power.sum())
        assert power[:, hertz > 14000].sum() < 1e-4 * power.sum()
    assert max(added) > 0.1
    assert not amp.amplify(np.random.default_rng(0), np.zeros((2, 1000), np.float32)).any()
