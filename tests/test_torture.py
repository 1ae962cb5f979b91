"""A sample of what `make torture` tries."""

from __future__ import annotations

import sys

import pytest
from torture.__main__ import torture

SAMPLE = {
    "kills": 1,
    "interrupts": 1,
    "full-disks": 1,
    "changes": 1,
    "rivals": 1,
    "hubs": 1,
    "audio": 32,
    "models": 12,
    "words": 40,
}
"""How often each kind is tried here. Recordings of two hours take minutes: they are not."""


@pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")
@pytest.mark.parametrize("kind", SAMPLE)
def test_the_promises_hold(kind: str) -> None:
    tries = torture(kind, SAMPLE[kind], seed=0, songs=2)
    assert len(tries) >= SAMPLE[kind]
    assert [fault for found in tries for fault in found] == []


def test_damage_is_told(tmp_path: object) -> None:
    """The harness sees what it is there to see."""
    from torture.ended import Ended

    assert Ended(("x",), None, "", "").faults((0,)) == ["it hung: x: "]
    assert Ended(("x",), 1, "", "").faults((0, 1)) == ["no reason given: x: "]
    assert Ended(("x",), 1, "", "unexpected KeyError: 'a'").faults((0, 1))
    assert not Ended(("x",), 1, "", "song.wav: no such file").faults((0, 1))
