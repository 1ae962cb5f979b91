"""Passes that are recorded and repeated, with a recorder that needs no GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stemsplit.networks.backends.gpu.graphs import Graphs


class Recorder:
    """Records like CUDA: the pass always reads one buffer and writes another; it fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.captures, self.replays = failures, 0, 0

    def __call__(self, network: Callable[[Tensor], Tensor], mixture: Tensor) -> tuple[Callable[[], object], Tensor]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("operation not permitted when stream is capturing")
        self.captures += 1
        stems = network(mixture)

        def replay() -> None:
            self.replays += 1
            stems.copy_(network(mixture))

        return replay, stems


def double(mixture: Tensor) -> Tensor:
    return 2 * mixture


def test_the_second_pass_of_a_shape_is_recorded_and_the_others_repeat_it() -> None:
    recorder = Recorder()
    graphs = Graphs(double, recorder)
    found = []
    for value in (1.0, 2.0, 3.0):
        found.append(graphs(torch.full((2, 1, 5), value)))
    assert (recorder.captures, recorder.replays) == (1, 2)
    # The stems of a pass are not overwritten by the next, although all write to one buffer.
    assert [stems.unique().tolist() for stems in found] == [[2.0], [4.0], [6.0]]


def test_other_shapes_and_precisions_are_recorded_apart_and_the_oldest_is_dropped() -> None:
    recorder = Recorder()
    graphs = Graphs(double, recorder, most=2)
    for length in (3, 3, 4, 4):
        graphs(torch.ones(1, 1, length))
    with torch.autocast("cpu", torch.bfloat16):
        graphs(torch.ones(1, 1, 3))
        assert recorder.captures == 2
        graphs(torch.ones(1, 1, 3))
    assert recorder.captures == 3
    graphs(torch.ones(1, 1, 4))
    assert recorder.captures == 3
    graphs(torch.ones(1, 1, 3))  # it was the oldest of three
    assert recorder.captures == 4


def test_what_cannot_be_recorded_runs_as_usual_and_is_not_tried_again() -> None:
    recorder = Recorder(failures=1)
    graphs = Graphs(double, recorder)
    for value in (1.0, 2.0, 3.0):
        assert graphs(torch.full((2, 1, 5), value)).unique().tolist() == [2 * value]
    assert (recorder.captures, recorder.replays) == (0, 0)
    for _ in range(2):
        graphs(torch.ones(1, 1, 6))
    assert recorder.captures == 1


def test_an_error_of_the_network_is_raised() -> None:
    def fail(mixture: Tensor) -> Tensor:
        raise RuntimeError("out of memory")

    graphs = Graphs(fail, Recorder())
    for _ in range(3):
        with pytest.raises(RuntimeError, match="out of memory"):
            graphs(torch.ones(1, 1, 5))


def test_threads_take_turns() -> None:
    inside, most = [0], [0]

    def watched(mixture: Tensor) -> Tensor:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.002)
        inside[0] -= 1
        return 2 * mixture

    graphs, wrong = Graphs(watched, Recorder()), []

    def work(value: float) -> None:
        for _ in range(5):
            if graphs(torch.full((1, 1, 3), value)).unique().tolist() != [2 * value]:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(value),)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not wrong


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_on_a_gpu_a_graph_computes_what_the_network_computes(precision: torch.dtype | None) -> None:
    from tiny import TINY

    from stemsplit.networks.backends.choose import bind, choose
    from stemsplit.networks.bsmamba import BSMamba

    device = torch.device("cuda:0")
    network = BSMamba(TINY).eval().to(device)
    bind(network, choose(device))
    graphs = Graphs(network)
    with torch.inference_mode(), torch.autocast("cuda", dtype=precision, enabled=precision is not None):
        for _ in range(4):
            mixture = torch.randn(3, 2, 8000, device=device)
            torch.testing.assert_close(graphs(mixture), network(mixture))
    assert all(one is not None for one in graphs._known.values())
