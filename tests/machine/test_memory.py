"""What stays is not looked through for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from stemsplit.machine.memory import to_stay


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
