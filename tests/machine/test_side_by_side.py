"""Chunks computed at once: in order, bounded, alone where memory runs out, and the same samples as one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tiny import TINY

from stemsplit.errors import ModelError
from stemsplit.machine.side_by_side import in_order
from stemsplit.networks.bsmamba import BSMamba
from stemsplit.separation.chunks import Chunking
from stemsplit.separation.stream import separate_array


class Crowd(Exception):  # noqa: N818 (not an error of the code under test)
    """Too many at once."""


def never(item: int) -> int:
    raise AssertionError(f"{item} was left alone")


def run(work, items, width: int, alone=never) -> Iterator[tuple[int, int]]:
    return in_order(work, items, width, alone=alone, crowded=lambda error: isinstance(error, Crowd))


def test_results_come_in_the_order_of_the_items() -> None:
    def work(item: int) -> int:
        time.sleep(0.02 * (item % 3 == 0))
        return item**2

    assert list(run(work, range(20), 4)) == [(item, item**2) for item in range(20)]


def test_several_run_at_once_and_no_more_than_the_width_is_taken_ahead() -> None:
    taken: list[int] = []
    together = threading.Barrier(3, timeout=10)

    def items() -> Iterator[int]:
        for item in range(9):
            taken.append(item)
            yield item

    def work(item: int) -> int:
        together.wait()  # three must be here at the same time
        return item

    found = run(work, items(), 3)
    assert next(found) == (0, 0)
    assert taken == [0, 1, 2, 3]
    assert [item for item, _ in found] == list(range(1, 9))


def test_every_operation_has_one_thread_inside_and_what_it_had_after() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        seen = [result for _, result in run(lambda _: torch.get_num_threads(), range(4), 2)]
        assert seen == [1] * 4
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_nothing_else_in_the_process_is_changed_while_a_stream_waits() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, second = run(lambda _: torch.get_num_threads(), range(9), 2), run(lambda item: item, range(9), 2)
        assert [next(first), next(second)] == [(0, 1), (0, 0)]
        assert torch.get_num_threads() == threads_of_a_new_thread() == 2
        first.close()
        second.close()
        assert torch.get_num_threads() == threads_of_a_new_thread() == 2
    finally:
        torch.set_num_threads(before)


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_a_thread_that_cannot_be_started_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith("stemsplit-chunk"):
            if started:
                raise RuntimeError("can't start new thread")
            started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        list(run(lambda item: item, range(9), 3))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stemsplit-chunk")]


def test_an_error_comes_in_its_place_and_nothing_more_is_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    found = run(work, range(100), 2)
    assert [next(found) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match="three"):
        next(found)
    assert max(begun) <= 6


def test_whoever_leaves_waits_for_what_is_under_way() -> None:
    running = threading.Semaphore(0)
    ended: list[int] = []

    def work(item: int) -> int:
        if item:
            running.release()
            time.sleep(0.1)
        ended.append(item)
        return item

    found = run(work, range(100), 2)
    next(found)
    running.acquire()
    found.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("stemsplit-chunk")]
    assert 1 <= len(ended) < 5


def test_what_was_crowded_is_done_alone_from_there_on() -> None:
    alone_in: list[str] = []

    def work(item: int) -> int:
        if item >= 5:
            raise Crowd
        return item

    def alone(item: int) -> int:
        alone_in.append(threading.current_thread().name)
        return -item

    found = list(run(work, range(9), 3, alone))
    assert found == [*((item, item) for item in range(5)), *((item, -item) for item in range(5, 9))]
    assert set(alone_in) == {threading.current_thread().name}


def test_nothing_comes_of_nothing() -> None:
    assert list(run(never, [], 3)) == []


@pytest.mark.parametrize("samples", [1, 5000, 20_000])
def test_stems_are_the_same_to_the_bit(samples: int) -> None:
    torch.manual_seed(0)
    network = BSMamba(TINY).eval()
    chunking = Chunking(2048, 0.5)
    mixture = np.random.default_rng(0).standard_normal((3, samples)).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one_by_one = separate_array(network, mixture, chunking=chunking)
        torch.set_num_threads(2)
        found = separate_array(network, mixture, chunking=chunking, side_by_side=3)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found, one_by_one)


class Greedy:
    """A network that fails when it runs more than once at a time, or is asked for more than `most` samples."""

    def __init__(self, most: int) -> None:
        self.config, self.most = TINY, most
        self.lock = threading.Lock()

    def __call__(self, mixture: torch.Tensor) -> torch.Tensor:
        if not self.lock.acquire(blocking=False):
            raise MemoryError
        try:
            time.sleep(0.02)
            if mixture.shape[-1] > self.most:
                raise MemoryError
            return mixture.unsqueeze(1).expand(-1, len(self.config.stems), -1, -1)
        finally:
            self.lock.release()


@pytest.mark.parametrize(("most", "warnings"), [(2048, 0), (1024, 1)])
def test_when_memory_runs_out_chunks_go_one_by_one_before_they_shrink(most: int, warnings: int) -> None:
    told: list[str] = []
    mixture = np.random.default_rng(0).standard_normal((2, 20_000)).astype(np.float32)
    stems = separate_array(Greedy(most), mixture, chunking=Chunking(2048, 0.5), side_by_side=4, on_warning=told.append)
    np.testing.assert_allclose(stems, np.broadcast_to(mixture, stems.shape), atol=1e-5)
    assert len(told) == warnings


def test_what_the_network_returns_is_checked() -> None:
    config = TINY

    class Wrong:
        def __init__(self) -> None:
            self.config = config

        def __call__(self, mixture: torch.Tensor) -> torch.Tensor:
            return torch.full((len(mixture), len(config.stems), *mixture.shape[1:]), float("nan"))

    with pytest.raises(ModelError, match="NaN"):
        separate_array(Wrong(), np.ones((2, 9000), np.float32), chunking=Chunking(2048, 0.5), side_by_side=2)
