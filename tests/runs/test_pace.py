"""The share that is shown is that of the time, where stems are encoded after the network, too."""

from __future__ import annotations

import pytest

from stemsplit.runs import pace as module
from stemsplit.runs.pace import TRIAL_SECONDS, Pace


class Run:
    """Somebody's watch, and what a pace of so many seconds of audio shows at each moment on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float | None) -> None:
        self.clock, self.shown = 0.0, [(0.0, 0.0)]
        monkeypatch.setattr(module.time, "monotonic", lambda: self.clock)
        self.pace = Pace(lambda done: self.shown.append((self.clock, done)), seconds)

    def passes(self, seconds: float) -> None:
        self.clock += seconds

    def furthest_off(self, seconds: float) -> float:
        """Per cent by which the bar was off, just after a change or just before the next one."""
        after = [*self.shown[1:], (self.clock, 0.0)]
        moments = [*self.shown, *((then, done) for (_, done), (then, _) in zip(self.shown, after, strict=True))]
        return max(abs(moment / self.clock - done / seconds) for moment, done in moments) * 100


@pytest.mark.parametrize("start", [0.0, 20.0])
@pytest.mark.parametrize("cost", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("seconds", [30, 200])
def test_a_core_that_encodes_afterwards(
    monkeypatch: pytest.MonkeyPatch, seconds: int, cost: float, start: float
) -> None:
    """The network takes a second for 1 s of audio, and `start` before that; the encoders take `cost`."""
    run = Run(monkeypatch, seconds)
    run.pace.encode_afterwards()
    run.passes(start)
    for second in range(1, seconds + 1):
        run.passes(1)
        run.pace.network(second)
        if run.pace.needs_trial:
            with run.pace.trying(1, beside=False):
                run.passes(cost)
    for _ in range(seconds):
        run.passes(cost)
        run.pace.encoded(1)
    told = [done for _, done in run.shown]
    assert told == sorted(told)
    assert told[-1] == pytest.approx(seconds)
    # Nobody can say how long it takes before anything is done.
    assert run.furthest_off(seconds) < max(10, 100 * (start + 2 + cost) / run.clock + 1)


def test_encoders_that_go_along_add_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, 50)
    run.passes(5)
    for second in range(1, 51):
        run.passes(2)
        run.pace.network(second)
        with run.pace.trying(1, beside=True):
            pass
    run.pace.wait()
    assert run.shown[-1] == (105, 50)
    assert run.furthest_off(50) < 8


def test_encoders_that_come_later_than_the_network_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the network they take a second for 1 s of audio, and it half a second."""
    run = Run(monkeypatch, 60)
    for half in range(1, 121):
        run.passes(0.5)
        if half <= 60:
            run.pace.network(half)
        if half % 2 == 0:
            trial = run.pace.trying(1, beside=True)
            run.clock -= 1
            with trial:
                run.passes(1)
        run.pace.wait()
    assert run.shown[-1] == (60, 60)
    assert run.furthest_off(60) < 5


@pytest.mark.parametrize("cost", [0.5, 1.0])
def test_a_peak_over_full_scale_makes_all_be_encoded_again(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    """The bar waits for the truth, and then goes with it."""
    run = Run(monkeypatch, 100)
    for second in range(1, 101):
        run.passes(1)
        run.pace.network(second)
        if second < 20:
            with run.pace.trying(1, beside=True):
                run.passes(cost)
        if second == 20:
            run.pace.encode_afterwards()
    for _ in range(100):
        run.passes(cost)
        run.pace.encoded(1)
    told = [done for _, done in run.shown]
    assert told == sorted(told)
    assert told[-1] == 100
    assert run.furthest_off(100) < 13


def test_where_nobody_knows_the_length_the_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, None)
    run.pace.encode_afterwards()
    assert run.pace.needs_trial
    with run.pace.trying(TRIAL_SECONDS, beside=False):
        run.passes(9)
    assert not run.pace.needs_trial
    run.pace.network(1.0)
    run.pace.network(2.0)
    run.pace.encoded(2.0)
    assert [done for _, done in run.shown] == [0.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("done", [(80, 90), (0, 0)])
def test_a_length_that_is_wrong_harms_nothing(monkeypatch: pytest.MonkeyPatch, done: tuple[float, float]) -> None:
    run = Run(monkeypatch, 50)
    for seconds in done:
        run.pace.network(seconds)
        run.passes(1)
    assert 0 <= run.shown[-1][1] <= 50
