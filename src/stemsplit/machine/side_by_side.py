"""Several items of a stream computed at once, each in its own thread, with results in the order of the items.

The matrix products of a small network are too small to be divided among threads. Whole chunks are large enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    width: int,
    *,
    alone: Callable[[T], R],
    crowded: Callable[[BaseException], bool],
) -> Iterator[tuple[T, R]]:
    """Yield (item, work(item)) for every item in order, while up to `width` items are computed at once.

    In the threads that run `work`, PyTorch uses a single thread for each operation. The rest of the process keeps the
    number of threads that it had. If the caller stops early, items that have begun are finished, and no other is begun.

    Args:
        work: computes one item; called in several threads.
        items: taken in the calling thread, only as fast as they are needed.
        width: the number of threads.
        alone: computes one item when `work` cannot; called in the calling thread, with that item and all after it.
        crowded: whether an error of `work` means that it failed only because several ran at once, as for lack of
            memory. Then `alone` takes over. Any other error is raised when its item is due.
    """
    items, waiting = iter(items), deque[tuple[T, Future[R]]]()
    with _single_threaded(width) as pool:
        try:
            while True:
                for item in islice(items, width + 1 - len(waiting)):  # one more than can run, so that no thread idles
                    waiting.append((item, pool.submit(work, item)))
                if not waiting:
                    return
                item, future = waiting.popleft()
                try:
                    result = future.result()
                except BaseException as error:
                    if not crowded(error):
                        raise
                    break
                yield item, result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    left = [item, *(item for item, _ in waiting)]
    del future, waiting  # they would keep the memory of the failed work alive
    for item in chain(left, items):
        yield item, alone(item)


def _single_threaded(width: int) -> ThreadPoolExecutor:
    """Return a pool of `width` running threads, in each of which PyTorch uses a single thread.

    PyTorch keeps its number of threads for each Python thread, and also the number that new Python threads begin with.
    Setting the first also sets the second. So the number is set back once all threads of the pool have begun.
    """
    before, ready = torch.get_num_threads(), Barrier(width + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first call in a thread resets the number, so it has to come before the next line
        torch.set_num_threads(1)
        with suppress(BrokenBarrierError):  # not all threads could be started
            ready.wait()

    pool = ThreadPoolExecutor(width, thread_name_prefix="stemsplit-chunk", initializer=begin)
    try:
        for _ in range(width):
            pool.submit(int)  # starts a new thread, because the others still wait at the barrier
        ready.wait()
    except BaseException:
        ready.abort()  # frees the threads that wait at the barrier
        pool.shutdown()
        raise
    torch.set_num_threads(before)
    return pool
