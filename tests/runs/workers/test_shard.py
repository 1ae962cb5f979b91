"""Parts of a folder: disjoint, complete, the same everywhere, and even."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from stemsplit.errors import UsageError
from stemsplit.runs.jobs import Job
from stemsplit.runs.workers.shard import Shard, parse_shard


def job(track: str, suffix: str = ".wav", root: str = "/music") -> Job:
    source = Path(root, track + suffix)
    return Job(source, track, str(source), {}, Path("out", track, "stemsplit.json"))


JOBS = [job(f"album {n % 17}/song {n}") for n in range(1000)]


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_parts_are_disjoint_complete_and_even(count: int) -> None:
    parts = [Shard(index, count).of(JOBS) for index in range(1, count + 1)]
    assert sorted(one.track for part in parts for one in part) == sorted(one.track for one in JOBS)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) < 6 * (1000 / count) ** 0.5


def test_a_part_depends_on_the_path_below_the_folder_alone() -> None:
    for one in ("a/Å song", "b"):
        parts = {
            next(i for i in range(1, 9) if Shard(i, 8).holds(job(unicodedata.normalize(form, one), root=root)))
            for form in ("NFC", "NFD")
            for root in ("/music", "/mnt/elsewhere")
        }
        assert len(parts) == 1


def test_parts_stay_what_they_are_from_version_to_version() -> None:
    assert [next(i for i in range(1, 9) if Shard(i, 8).holds(one)) for one in JOBS[:8]] == PARTS


PARTS = [1, 5, 6, 8, 8, 1, 6, 5]


def test_a_name_that_is_not_unicode_has_a_part() -> None:
    assert sum(Shard(i, 3).holds(job("\udcff")) for i in (1, 2, 3)) == 1


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.0/4", "1/9999999", "١/٤"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)
    assert parse_shard(" 3/8 ") == Shard(3, 8)
