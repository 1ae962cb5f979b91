"""Stages in threads: in order, bounded, errors once and as they are, and no thread is left behind."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from stemsplit.machine import pipeline
from stemsplit.machine.pipeline import AHEAD_ITEMS, BEHIND_ITEMS, Behind, ahead

pytestmark = pytest.mark.timeout(60)
MANY = 50


@pytest.fixture(params=[1, 2], autouse=True)
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Everything on one core, in turns, and on two; and no thread is ever left."""
    monkeypatch.setattr(pipeline, "usable_cores", lambda: request.param)
    yield request.param
    assert ours() == []


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stemsplit")]


def counting(closed: list[str], upto: int = MANY, error: BaseException | None = None) -> Iterator[int]:
    try:
        yield from range(upto)
        if error is not None:
            raise error
    finally:
        closed.append("closed")


def fail(text: str) -> None:
    raise AssertionError(text)


def behind(items: Iterable[int], work: Callable[[int], object] = lambda item: None) -> list[int]:
    """What `work` has been done on."""
    done: list[int] = []

    def noted(item: int) -> None:
        work(item)
        done.append(item)

    with Behind(noted) as worker:
        for item in items:
            worker.put(item)
    return done


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    return true()


def test_everything_comes_in_order() -> None:
    closed: list[str] = []
    with ahead(lambda warn: counting(closed), fail) as items:
        assert behind(items) == list(range(MANY))
    assert closed == ["closed"]


def test_who_waits_at_the_end_gives_signs_of_life(cores: int) -> None:
    """In the calling thread, where Ctrl-C is raised and watchers are told."""
    seen: list[str] = []
    with Behind(
        lambda item: eventually(lambda: bool(seen)), lambda: seen.append(threading.current_thread().name)
    ) as one:
        if cores > 1:
            one.put(1)
    assert set(seen) == ({threading.current_thread().name} if cores > 1 else set())


def test_they_work_at_the_same_time(cores: int) -> None:
    if cores == 1:
        return
    threads = set()

    def made(warn: Callable[[str], None]) -> Iterator[int]:
        for number in range(MANY):
            threads.add(threading.current_thread().name)
            yield number

    def note(item: int) -> None:
        threads.add(threading.current_thread().name)

    with ahead(made, fail) as items:
        behind((note(item) or item for item in items), note)  # type: ignore[func-returns-value]
    assert threads == {"stemsplit-ahead", threading.current_thread().name, "stemsplit-behind"}


def test_what_is_read_ahead_is_bounded(cores: int) -> None:
    made: list[int] = []
    with ahead(lambda warn: (made.append(number) or number for number in range(MANY)), fail) as items:
        assert next(items) == 0
        if cores > 1:
            assert eventually(lambda: len(made) == AHEAD_ITEMS + 2)  # one taken, one in the thread's hand
            time.sleep(0.05)
        assert len(made) <= AHEAD_ITEMS + 2


def test_what_waits_behind_is_bounded(cores: int) -> None:
    made: list[int] = []

    def work(item: int) -> None:
        if item == 0 and cores > 1:
            assert eventually(lambda: len(made) == BEHIND_ITEMS + 2)  # one taken, one in the caller's hand
            time.sleep(0.05)
        assert len(made) <= item + BEHIND_ITEMS + 2

    assert behind((made.append(number) or number for number in range(MANY)), work) == list(range(MANY))  # type: ignore[func-returns-value]


def test_an_error_ahead_comes_after_what_was_made_before_it() -> None:
    closed: list[str] = []
    error = ValueError("broken off")
    got: list[int] = []
    with (
        pytest.raises(ValueError, match="broken off") as raised,
        ahead(lambda warn: counting(closed, 7, error), fail) as items,
    ):
        got.extend(items)
    assert raised.value is error
    assert got == list(range(7))
    assert closed == ["closed"]


def test_an_error_behind_ends_the_making() -> None:
    error = OSError("disk full")

    def work(item: int) -> None:
        if item == 3:
            raise error

    with pytest.raises(OSError, match="disk full") as raised:
        behind(counting([], 10**9), work)
    assert raised.value is error


def test_an_error_of_the_last_item_comes_at_the_end() -> None:
    def work(item: int) -> None:
        if item == 2:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        behind(range(3), work)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_error_here_stops_both_neighbours(cores: int, error: BaseException) -> None:
    closed: list[str] = []
    begun: list[int] = []

    def here(items: Iterator[int]) -> Iterator[int]:
        for number in items:
            if number == 5:
                raise error
            yield number

    with pytest.raises(type(error)) as raised, ahead(lambda warn: counting(closed, 10**9), fail) as items:
        behind(here(items), begun.append)
    assert raised.value is error
    assert begun == list(range(len(begun)))
    assert len(begun) <= 5
    assert ours() == []
    if cores > 1:
        assert closed == ["closed"]


def test_who_leaves_early_leaves_no_thread() -> None:
    closed: list[str] = []
    with ahead(lambda warn: counting(closed, 10**9), fail) as items:
        assert [next(items), next(items)] == [0, 1]
    assert ours() == []


def test_warnings_keep_their_place_and_their_thread() -> None:
    seen: list[object] = []

    def made(warn: Callable[[str], None]) -> Iterator[int]:
        yield 1
        warn("two")
        yield 3
        warn("four")

    def warn(text: str) -> None:
        seen.extend([text, threading.current_thread() is threading.main_thread()])

    with ahead(made, warn) as items:
        for item in items:
            seen.append(item)
    assert seen == [1, "two", True, 3, "four", True]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_while_waiting(cores: int) -> None:
    """The caller waits for a slow stage, and is to be woken at once."""
    if cores == 1:
        return
    released = threading.Event()

    def slow(item: int) -> None:
        released.wait(0.2)

    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        behind(range(MANY), slow)
    timer.join()
    assert time.monotonic() - started < 5  # and not the 10 seconds that all of it takes
    assert ours() == []
