"""What is chosen before the network runs, and what comes after it: lengths that are known only at the end."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import FakeConfig, fake_separator

from stemsplit.options import SeparateOptions
from stemsplit.separation import separator
from stemsplit.separation.separator import Settling


def settled(blocks: list[np.ndarray], wanted: int) -> np.ndarray:
    settling = Settling(2)
    return np.concatenate([*(settling.push(block) for block in blocks), settling.end(wanted)], axis=-1)


@pytest.mark.parametrize("wanted", [150, 149, 100, 151, 200])
def test_a_stream_is_settled_to_the_wanted_length(wanted: int) -> None:
    joined = settled([np.ones((2, 50)), np.ones((2, 1)), np.ones((2, 0)), np.ones((2, 99))], wanted)
    assert joined.shape == (2, wanted)
    assert joined[:, : min(wanted, 150)].all()
    assert not joined[:, 150:].any()


@pytest.mark.parametrize("wanted", [0, 80, 230])
def test_a_stream_that_is_far_off_is_an_error_of_the_program(wanted: int) -> None:
    with pytest.raises(ValueError, match="150 samples came"):
        settled([np.ones((2, 150))], wanted)


def test_chunks_that_take_much_memory_are_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separator, "chunks_side_by_side", lambda device, parameters: 3)
    for alone, expected in ((False, 3), (True, 1)):
        found = fake_separator(SeparateOptions(device="cpu"), config=FakeConfig(one_chunk_on_cpu=alone))
        assert found.side_by_side == expected
