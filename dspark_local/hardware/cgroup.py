"""Limits that a container sets on this process: control groups of version 1 and 2.

A limit of any ancestor holds, so all of them are read. Inside a container the path that the kernel names is often not
below the mount that is visible; walking up to the mount's root then finds the container's own limit.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Version 1 writes "no limit" as the largest multiple of a page below 2^63.
_UNLIMITED = 2**60


class MemoryLimit(NamedTuple):
    """Bytes allowed, and how many of them are left when reclaimable file pages count as free."""

    limit: int
    left: int


def memory_limit(root: Path = Path("/")) -> MemoryLimit | None:
    """The tightest memory limit on this process, None without one."""
    limits = []
    for folder in _folders(root, "memory"):
        for names in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit = _number(folder / names[0])
            if limit is None or limit >= _UNLIMITED:
                continue
            used = max(0, (_number(folder / names[1]) or 0) - _statistic(folder / "memory.stat", names[2]))
            limits.append(MemoryLimit(limit, max(0, limit - used)))
    if not limits:
        return None
    return MemoryLimit(min(each.limit for each in limits), min(each.left for each in limits))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many CPUs' worth of time this process may use, None without a limit."""
    quotas = []
    for folder in _folders(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) > 0:  # neither "max" nor -1
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _folders(root: Path, controller: str) -> list[Path]:
    """The group of this process in the hierarchy of the controller, then its ancestors."""
    folders = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mount = root / "sys/fs/cgroup"
        if controllers:
            if controller not in controllers.split(","):
                continue
            mount /= controller
        inner = PurePosixPath("/") if ".." in path else PurePosixPath("/", path)
        folders += [mount / each.relative_to("/") for each in (inner, *inner.parents)]
    return folders


def _statistic(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
