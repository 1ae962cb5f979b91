"""The three stages of a pass over a song, each in its own thread: reading ahead, computing, and writing behind.

           ahead                                here                               behind
    decode → resample  ─channel→  chunks → network → overlap-add → resample → mix  ─channel→  files

"here" is the calling thread. The network runs there, because that is where Python raises Ctrl-C. Channels hold only a
few items, so that memory does not grow with the song. An error in a stage is raised in the calling thread, once and
unchanged. If the calling thread leaves early, the other threads stop at their next item, and it waits for them to end.
With a single core, everything runs in the calling thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Generic, TypeVar

from stemsplit.machine.cores import usable_cores

T = TypeVar("T")
Warn = Callable[[str], None]

AHEAD_ITEMS = 4
"""The most items that wait to be computed."""
BEHIND_ITEMS = 2
"""The most items that wait to be written."""
WAIT_SECONDS = 0.2
"""Between two signs of life of who waits at the end."""


@dataclass(frozen=True)
class _Said:
    """A warning that travels to the calling thread, in order with the items."""

    text: str


class Channel(Generic[T]):
    """A queue of at most `depth` items from one thread to another. Both the sender and the receiver may leave early."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = Condition()
        self._ended = self._left = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait until there is room, and append an item. Return False if the receiver has left."""
        with self._changed:
            while len(self._items) >= self._depth and not self._left:
                self._changed.wait()
            if not self._left:
                self._items.append(item)
                self._changed.notify_all()
            return not self._left

    def end(self, error: BaseException | None = None, *, at_once: bool = False) -> None:
        """Tell the receiver that no more items will come. The sender calls this once it is done.

        Args:
            error: raised in the receiver, after the items that still wait.
            at_once: drop the items that still wait.
        """
        with self._changed:
            if at_once:
                self._items.clear()
            self._ended, self._error = True, error
            self._changed.notify_all()

    def leave(self) -> None:
        """Tell the sender that no more items are wanted. The receiver calls this."""
        with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not self._items and not self._ended:
                    self._changed.wait()
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        error, self._error = self._error, None
        if error is not None:
            raise error


@contextmanager
def ahead(make: Callable[[Warn], Iterable[T]], warn: Warn) -> Iterator[Iterator[T]]:
    """Run `make` in another thread, and yield an iterator of its items. Up to `AHEAD_ITEMS` are made beforehand.

    Errors of `make` are raised by the iterator.

    Args:
        make: called with a function for warnings; returns the items.
        warn: called with those warnings, in the thread that uses the iterator.
    """
    if usable_cores() == 1:
        yield iter(make(warn))
        return
    channel: Channel[T | _Said] = Channel(AHEAD_ITEMS)
    thread = Thread(target=_make_all, args=(make, channel), name="stemsplit-ahead", daemon=True)
    thread.start()
    try:
        yield _told(channel, warn)
    finally:
        channel.leave()
        thread.join()


def _make_all(make: Callable[[Warn], Iterable[T]], channel: Channel[T | _Said]) -> None:
    try:
        for item in make(lambda text: _say(channel, text)):
            if not channel.put(item):
                break
    except BaseException as error:
        channel.end(error)
    else:
        channel.end()


def _say(channel: Channel[T | _Said], text: str) -> None:
    channel.put(_Said(text))


def _told(channel: Channel[T | _Said], warn: Warn) -> Iterator[T]:
    for item in channel:
        if isinstance(item, _Said):
            warn(item.text)
        else:
            yield item


class Behind(Generic[T]):
    """A thread that does some work on each item it is given, in order; used as a context manager.

    At the end of the block all items are done. If the block fails, the items that still wait are dropped. In both cases
    the thread has ended. With a single core there is no thread: `put` does the work. Up to `BEHIND_ITEMS` may wait.

    Args:
        work: called with every item.
        on_wait: called in the calling thread from time to time while it waits at the end.
    """

    def __init__(self, work: Callable[[T], object], on_wait: Callable[[], object] = lambda: None) -> None:
        self._work, self._on_wait = work, on_wait
        self._channel: Channel[T] = Channel(BEHIND_ITEMS)
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Behind[T]:
        if usable_cores() > 1:
            self._thread = Thread(target=self._run, name="stemsplit-behind", daemon=True)
            self._thread.start()
        return self

    def put(self, item: T) -> None:
        """Give an item to the thread; wait first if too many items wait.

        Raises: the error of `work`, if it has failed on an earlier item.
        """
        if self._thread is None:
            self._work(item)
        elif not self._channel.put(item):
            self._thread.join()
            self._raise()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._thread is None:
            return
        try:
            if kind is None:
                self._channel.end()
                while self._thread.is_alive():
                    self._thread.join(WAIT_SECONDS)
                    self._on_wait()
        finally:
            self._channel.end(at_once=True)
            self._thread.join()
        if kind is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for item in self._channel:
                self._work(item)
        except BaseException as error:
            self._error = error
        finally:
            self._channel.leave()
