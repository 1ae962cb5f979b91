"""Plans: places are compared exactly although only their hashes are kept, and in little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from crews import job_named
from tiny import fake_separator

from stemsplit.errors import TargetCollisionError
from stemsplit.files.inputs import find_inputs
from stemsplit.options import SeparateOptions
from stemsplit.runs import plan as plans
from stemsplit.runs.plan import with_collisions
from stemsplit.runs.separate import plan

BYTES_PER_NAME = 3000
"""With names of seventy letters; it was 3800 when every path was kept as an object, and every place as text."""


def test_equal_hashes_are_no_collision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "hash", lambda text: 0, raising=False)
    assert [job.error for job in with_collisions([job_named(name, tmp_path / "out") for name in "abc"])] == [None] * 3
    same = with_collisions([job_named(name, tmp_path / "out") for name in "aAb"])
    assert [type(job.error) for job in same] == [TargetCollisionError, TargetCollisionError, type(None)]


def test_a_name_takes_little_memory(tmp_path: Path) -> None:
    count = 400
    for number in range(count):
        (tmp_path / f"{'n' * 60} {number:06d}.wav").touch()
    options = SeparateOptions(output=tmp_path / "out")
    separator, found = fake_separator(options), find_inputs([tmp_path], options.output)
    kept = plan(found, separator, options)  # what Python keeps of names for all is there by now
    tracemalloc.start()
    try:
        again = plan(found, separator, options)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert again == kept
    assert len(kept) == count
    assert most / count < BYTES_PER_NAME
