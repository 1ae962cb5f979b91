"""Pieces of one stream computed at the same time, a thread each, and handed on in their order.

The products of a small network are too small to be shared among threads; whole chunks are not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import torch

from stemsplit.machine.setting import SharedSetting

T = TypeVar("T")
R = TypeVar("R")


_threads = SharedSetting(torch.get_num_threads, torch.set_num_threads)


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    width: int,
    *,
    alone: Callable[[T], R],
    crowded: Callable[[BaseException], bool],
) -> Iterator[tuple[T, R]]:
    """Pair every item with `work(item)`, at most `width` at once; items are taken in the calling thread, as needed.

    While `work` runs in threads, PyTorch computes every operation on the thread that asks for it.

    Where `work` raises an error that is `crowded`, such as too little memory for several at once, that item and all
    after it are left to `alone`, one by one in the calling thread. Any other error is raised in its item's place.
    Whoever leaves waits for what is under way, and nothing more is begun.
    """
    items, waiting = iter(items), deque[tuple[T, Future[R]]]()
    with _threads.changed_to(1), ThreadPoolExecutor(width, thread_name_prefix="stemsplit-chunk") as pool:
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
