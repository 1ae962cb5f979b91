"""Forms: chords, times, scales."""

from __future__ import annotations

import pytest

from songs.composition.score import Form, Section


def test_form_finds_chords_and_times() -> None:
    form = Form(120.0, 0, "major", 0.0, (), (Section(0, 8, frozenset({"bass"}), "A"),))
    assert form.beats == 8
    assert form.seconds(8) == 4.0
    assert form.scale == frozenset({0, 2, 4, 5, 7, 9, 11})
    assert form.active("drums") == ()


@pytest.mark.parametrize(("pitch", "above"), [(60, 64), (62, 65), (64, 67), (71, 74), (61, 64)])
def test_a_third_is_two_steps_up_the_scale(pitch: int, above: int) -> None:
    assert Form(120.0, 0, "major", 0.0, (), ()).third_above(pitch) == above
