"""Examples drawn ahead of their use, so that an accelerator does not wait for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

from stemsplit.machine.cores import usable_cores

T = TypeVar("T")
MOST_THREADS = 8
"""So many threads at most draw by default."""


def drawn_ahead(draw: Callable[[int], T], steps: Iterable[int], threads: int) -> Generator[T]:
    """Yield draw(step) of every step, in order.

    With 0 threads a step is drawn when it is asked for, with more it is drawn ahead. At most two results per thread
    are held. `draw` may depend on the step only, so that the results do not depend on the threads. Closing the
    generator waits for what is being drawn, and cancels the rest. What `draw` raises is raised at its step.
    """
    if threads < 1:
        yield from map(draw, steps)
        return
    rest = iter(steps)
    with ThreadPoolExecutor(threads, "draw") as pool:
        waiting: deque[Future[T]] = deque(pool.submit(draw, step) for step in islice(rest, 2 * threads))
        try:
            while waiting:
                drawn = waiting.popleft().result()
                waiting.extend(pool.submit(draw, step) for step in islice(rest, 1))
                yield drawn
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def threads_for(device: torch.device) -> int:
    """Return how many threads draw by default.

    On a CPU there are none, because it computes at the same time. Otherwise there is one per core but one, up to 8.
    """
    if device.type == "cpu":
        return 0
    return max(1, min(MOST_THREADS, usable_cores() - 1))
