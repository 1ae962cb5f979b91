"""What comes after the network: lengths that are known only at the end."""

from __future__ import annotations

import numpy as np
import pytest

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
