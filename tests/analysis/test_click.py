"""Clicks are where the beats are, to the sample."""

from __future__ import annotations

import numpy as np
import pytest

from stemsplit.analysis.beats import Tempo
from stemsplit.analysis.click import click_blocks, count_in

RATE = 44100


def onsets(track: np.ndarray) -> list[int]:
    """First samples of clicks (n,)."""
    loud = np.flatnonzero(np.abs(track) > 0.3)
    return [int(i) for i, before in zip(loud, [-RATE, *loud[:-1]], strict=True) if i - before > 2000]


def test_a_click_track_is_as_long_as_the_song_and_clicks_on_the_beats() -> None:
    times = [0.0, 1.4861, 2.5, 3.0]  # 65536 samples are 1.4861 s: a click lies across two blocks
    blocks = list(click_blocks(times, RATE, 130001))
    track = np.concatenate(blocks, axis=1)
    assert track.shape == (1, 130001)
    assert onsets(track[0]) == [round(t * RATE) for t in times if t * RATE < 130001]
    late = np.concatenate(list(click_blocks([1.485], RATE, 130001)), axis=1)[0]
    first = round(1.485 * RATE)
    alone = np.concatenate(list(click_blocks([0.0], RATE, 4000)), axis=1)[0]
    assert np.array_equal(late[first : first + 4000], alone)


@pytest.mark.parametrize("first_beat", [0.0, 0.3, 20.0])
def test_the_count_in_leads_to_the_first_beat(first_beat: float) -> None:
    clicks, lead = count_in(Tempo(120.0), first_beat, 2, 4, RATE)
    found = onsets(clicks)
    assert lead == max(0, round((4.0 - first_beat) * RATE))
    assert len(found) == 8
    assert np.abs(np.diff(found) - RATE / 2).max() <= 1
    assert found[-1] + RATE / 2 == pytest.approx(lead + first_beat * RATE, abs=2)
