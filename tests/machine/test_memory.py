"""What stays is not looked through for garbage, and what a file holds need not stay."""

from __future__ import annotations

import gc
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stemsplit.machine.memory import give_back_file_pages, to_stay

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux gives back pages")


@pytest.fixture(autouse=True)
def collected_again() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_made_is_kept_from_the_collector() -> None:
    before, collections = gc.get_freeze_count(), sum(part["collections"] for part in gc.get_stats())
    with to_stay():
        made = [[] for _ in range(5000)]
        assert sum(part["collections"] for part in gc.get_stats()) == collections
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)
    assert not any(part is made for part in gc.get_objects())


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    before = gc.get_freeze_count()
    with to_stay():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == before


def test_it_is_on_again_after_an_error() -> None:
    with pytest.raises(KeyError), to_stay():
        raise KeyError
    assert gc.isenabled()


def mapped(path: Path, pages: int) -> np.ndarray:
    """Numbers of a file, mapped privately and all read."""
    np.arange(pages * mmap.PAGESIZE // 4, dtype=np.float32).tofile(path)
    values = np.memmap(path, np.float32, mode="c")
    assert values.sum() > 0
    return values


def given_back(values: np.ndarray) -> int:
    return give_back_file_pages(values.ctypes.data, values.nbytes)


def resident(values: np.ndarray) -> int:
    """Pages in memory."""
    first = values.ctypes.data // mmap.PAGESIZE
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        pagemap.seek(8 * first)
        states = np.frombuffer(pagemap.read(8 * (values.nbytes // mmap.PAGESIZE)), np.uint64)
    return int((states >> np.uint64(63)).sum())


@on_linux
def test_pages_of_a_file_are_given_back_and_read_again(tmp_path: Path) -> None:
    values = mapped(tmp_path / "values", 40)
    part = values[100:-100]  # whole pages only
    assert given_back(part) == 38 * mmap.PAGESIZE
    assert resident(values) == 2
    assert (values == np.arange(len(values))).all()
    assert resident(values) == 40


def test_what_was_written_stays(tmp_path: Path) -> None:
    values = mapped(tmp_path / "values", 40)
    values[20000] = -1
    assert given_back(values) == 0
    assert values[20000] == -1


def test_memory_without_a_file_stays() -> None:
    values = np.arange(40 * mmap.PAGESIZE // 4, dtype=np.float32)
    assert given_back(values) == 0
    assert (values == np.arange(len(values))).all()
    assert give_back_file_pages(values.ctypes.data, 100) == 0
