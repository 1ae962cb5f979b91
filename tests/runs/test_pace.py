"""The share that is shown is that of the time, where stems are encoded after the network."""

from __future__ import annotations

import pytest

from stemsplit.runs import pace as module
from stemsplit.runs.pace import Pace


@pytest.mark.parametrize("cost", [0.1, 1.0, 3.0])
def test_encoding_afterwards_is_a_part_of_the_work(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    """The network takes 1 s for a second of audio, the encoders `cost`."""
    clock, told = [0.0], list[float]()
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    pace = Pace(told.append)
    pace.encode_afterwards()
    shares = []
    with pace.trying(5):
        clock[0] += 5 * cost
    for second in range(1, 101):
        clock[0] += 1
        pace.network(second)
        shares.append((clock[0], told[-1]))
    for _ in range(100):
        clock[0] += cost
        pace.encoded(1)
        shares.append((clock[0], told[-1]))
    assert told[-1] == pytest.approx(100)
    assert told == sorted(told)
    assert all(abs(moment / clock[0] * 100 - done) < 8 for moment, done in shares[20:])


def test_encoders_that_go_along_add_nothing() -> None:
    told: list[float] = []
    pace = Pace(told.append)
    with pace.trying(1):
        pass
    pace.network(1.0)
    pace.network(2.0)
    assert told == [1.0, 2.0]
    assert pace.needs_trial


def test_the_bar_does_not_go_back_when_what_was_encoded_is_of_no_use() -> None:
    told: list[float] = []
    pace = Pace(told.append)
    with pace.trying(20):
        pass
    assert not pace.needs_trial
    pace.network(50.0)
    pace.encode_afterwards()
    pace.network(51.0)
    pace.encoded(1.0)
    assert told == sorted(told)
