"""How many processor cores this process may use. In a container or under taskset it is fewer than the machine has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return how many cores the scheduler and the control group leave to this process; at least 1."""
    quota = cgroup_quota()
    cores = _scheduled_cores()
    return cores if quota is None else max(1, min(cores, int(quota)))


def _scheduled_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(own: Path = _OWN_CGROUP, mounted: Path = _CGROUPS) -> float | None:
    """Return the processor time that the Linux control group allows, in cores; None if there is no limit.

    It is the lowest limit of the group and of all groups above it. Version 2 of control groups states the limit in the
    file cpu.max of every group, version 1 in two files of the controller "cpu".

    Args:
        own: the file that says which group this process is in.
        mounted: where the control groups are mounted.
    """
    try:
        lines = own.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    granted: list[float] = []
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if not controllers:
            granted += _limits(mounted, path, _version_2)
        elif "cpu" in controllers.split(","):
            granted += _limits(mounted / "cpu", path, _version_1)
    return min(granted, default=None)


def _limits(root: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """Return the limits of a group and of all groups above it.

    Groups whose folder is missing are skipped: in a container the group's own path may not be mounted.
    """
    group = root / path.lstrip("/")
    found = []
    for folder in (group, *group.parents):
        try:
            if (limit := read(folder)) is not None:
                found.append(limit)
        except (OSError, ValueError):
            pass
        if folder == root:
            break
    return found


def _version_2(folder: Path) -> float | None:
    """Read cpu.max, which holds quota and period in microseconds: "max 100000" or "150000 100000"."""
    quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    return None if quota == "max" else int(quota) / int(period)


def _version_1(folder: Path) -> float | None:
    """Read the quota and the period, in microseconds. A quota of -1 means that there is no limit."""
    quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
    period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    return None if quota < 0 else quota / period
