"""Pieces of one stream computed at the same time, a thread each, and handed on in their order.

The products of a small network are too small to be shared among threads; whole chunks are not.
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
    """Pair every item with `work(item)`, at most `width` at once; items are taken in the calling thread, as needed.

    In the threads that run `work`, PyTorch computes every operation on the thread that asks for it. Elsewhere in the
    process it has the threads that it had.

    Where `work` raises an error that is `crowded`, such as too little memory for several at once, that item and all
    after it are left to `alone`, one by one in the calling thread. Any other error is raised in its item's place.
    Whoever leaves waits for what is under way, and nothing more is begun.
    """
    items, waiting = iter(items), deque[tuple[T, Future[R]]]()
    with _single_threaded(width) as pool:
        try:
            while True:
                for item in islice(items, width + 1 - len(waiting)):  # one more than can run: nobody waits for us
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
    del future, waiting  # which keep what failed in memory
    for item in chain(left, items):
        yield item, alone(item)


def _single_threaded(width: int) -> ThreadPoolExecutor:
    """Return a pool of `width` running threads, in each of which PyTorch computes on that thread alone.

    PyTorch keeps a number of threads for each thread, and one that new threads begin with. Setting the former sets the
    latter, too: it is put back as soon as all threads of the pool have begun.
    """
    before, ready = torch.get_num_threads(), Barrier(width + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first question in a thread would undo what is set before it
        torch.set_num_threads(1)
        with suppress(BrokenBarrierError):  # not all could be started
            ready.wait()

    pool = ThreadPoolExecutor(width, thread_name_prefix="stemsplit-chunk", initializer=begin)
    try:
        for _ in range(width):
            pool.submit(int)  # starts a thread, for none is idle before all are ready
        ready.wait()
    except BaseException:
        ready.abort()  # lets those go that have begun
        pool.shutdown()
        raise
    torch.set_num_threads(before)
    return pool
