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


def drawn_ahead(draw: Callable[[int], T], steps: Iterable[int], threads: int) -> Generator[T]:
    """Yield draw(step) of every step, in order; 0 threads draw when asked, more of them ahead of it.

    At most two batches per thread are held. What is drawn may depend on the step only; then it does not depend on the
    threads. What `draw` raises comes out at its step. Closing the generator waits for what is being drawn and forgets
    the rest.
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
    """How many threads draw by default: none on a CPU, which computes meanwhile; else all cores but one, up to 8."""
    if device.type == "cpu":
        return 0
    return max(1, min(MOST_THREADS, usable_cores() - 1))
