"""Examples drawn ahead: order, how many, errors."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from stemsplit.training.examples.prefetch import drawn_ahead, threads_for


@pytest.mark.parametrize("threads", [0, 1, 3, 20])
def test_draws_come_in_order_whatever_the_threads(threads: int) -> None:
    def draw(step: int) -> int:
        time.sleep(0.002 * (step % 3))  # later ones are ready earlier
        return step * step

    assert list(drawn_ahead(draw, range(5, 17), threads)) == [step * step for step in range(5, 17)]
    assert list(drawn_ahead(draw, range(0), threads)) == []


def test_no_more_is_held_than_two_batches_per_thread() -> None:
    started: list[int] = []
    draws = drawn_ahead(lambda step: started.append(step), range(100), 2)
    for taken in range(1, 6):
        next(draws)
        time.sleep(0.05)
        assert len(started) == taken + 4
    draws.close()
    time.sleep(0.05)
    assert len(started) <= 9
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("draw")]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_out_at_its_step(threads: int) -> None:
    def draw(step: int) -> float:
        return 1 / (3 - step)

    draws = drawn_ahead(draw, range(10), threads)
    assert [next(draws) for _ in range(3)] == [1 / 3, 1 / 2, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(draws)


def test_a_cpu_draws_when_asked_and_a_gpu_ahead() -> None:
    assert threads_for(torch.device("cpu")) == 0
    assert threads_for(torch.device("cuda")) >= 1
