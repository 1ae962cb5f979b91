"""How many cores a process may use: the scheduler's word, and the control group's."""

from __future__ import annotations

from pathlib import Path

import pytest

from stemsplit.machine import cores
from stemsplit.machine.cores import cgroup_quota, usable_cores


def group(mounted: Path, path: str, **files: str) -> None:
    folder = mounted / path.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n", encoding="ascii")


def test_version_2_counts_the_least_of_all_groups_above(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/outer/inner\n", encoding="ascii")
    mounted = tmp_path / "fs"
    group(mounted, "/outer", cpu__max="150000 100000")
    group(mounted, "/outer/inner", cpu__max="max 100000")
    assert cgroup_quota(own, mounted) == 1.5
    group(mounted, "/outer/inner", cpu__max="50000 100000")
    assert cgroup_quota(own, mounted) == 0.5


def test_version_2_inside_a_container_sees_only_its_own_mount(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/docker/0123abcd\n", encoding="ascii")
    group(tmp_path / "fs", "/", cpu__max="300000 100000")
    assert cgroup_quota(own, tmp_path / "fs") == 3.0


def test_version_1(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("4:memory:/job\n3:cpu,cpuacct:/job\n", encoding="ascii")
    group(tmp_path / "fs", "/cpu/job", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cgroup_quota(own, tmp_path / "fs") is None
    group(tmp_path / "fs", "/cpu", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert cgroup_quota(own, tmp_path / "fs") == 2.0


@pytest.mark.parametrize("text", ["", "nonsense", "0::/gone"])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, text: str) -> None:
    own = tmp_path / "own"
    assert cgroup_quota(own, tmp_path) is None
    own.write_text(text, encoding="ascii")
    group(tmp_path / "fs", "/", cpu__max="what is this")
    assert cgroup_quota(own, tmp_path / "fs") is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.5, 1), (2.9, 2), (64.0, 4)])
def test_the_smaller_of_both_and_never_none(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(cores, "_scheduled_cores", lambda: 4)
    monkeypatch.setattr(cores, "cgroup_quota", lambda: quota)
    assert usable_cores() == expected
