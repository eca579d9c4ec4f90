from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from dspark_local.hardware.cgroup import cpu_quota, memory_limit
from dspark_local.hardware.memory import read_memory

GIB = 2**30


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_version_2_limit_counts_reclaimable_file_pages_as_free(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/box",
            "sys/fs/cgroup/user.slice/box/memory.max": str(8 * GIB),
            "sys/fs/cgroup/user.slice/box/memory.current": str(5 * GIB),
            "sys/fs/cgroup/user.slice/box/memory.stat": f"anon 1\ninactive_file {2 * GIB}\nactive_file 3",
        },
    )
    assert memory_limit(root) == (8 * GIB, 5 * GIB)


def test_a_tighter_ancestor_wins(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner",
            "sys/fs/cgroup/outer/inner/memory.max": "max",
            "sys/fs/cgroup/outer/inner/cpu.max": "max 100000",
            "sys/fs/cgroup/outer/memory.max": str(4 * GIB),
            "sys/fs/cgroup/outer/memory.current": str(GIB),
            "sys/fs/cgroup/outer/cpu.max": "150000 100000",
        },
    )
    assert memory_limit(root) == (4 * GIB, 3 * GIB)
    assert cpu_quota(root) == 1.5


def test_version_1_in_a_container_whose_path_is_not_below_the_mount(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n0::/docker/0123",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {GIB // 2}",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert memory_limit(root) == (2 * GIB, 2 * GIB - GIB // 2)
    assert cpu_quota(root) == 2.5


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": ""},
        {"proc/self/cgroup": "damaged\n::\n0::/a/../../b"},
        {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/cpu.max": "max 100000"},
        {
            "proc/self/cgroup": "5:memory:/\n3:cpu:/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    ],
)
def test_no_limit_is_no_limit(tmp_path: Path, files: dict[str, str]) -> None:
    root = lay(tmp_path, files)
    assert memory_limit(root) is None
    assert cpu_quota(root) is None


def test_memory_is_the_machines_own_without_a_limit(tmp_path: Path) -> None:
    memory = read_memory(tmp_path)
    assert memory.total_bytes == psutil.virtual_memory().total
    assert 0 < memory.available_bytes <= memory.total_bytes


def test_memory_is_the_containers_with_one(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": str(512 * 2**20),
            "sys/fs/cgroup/memory.current": str(500 * 2**20),
        },
    )
    memory = read_memory(root)
    assert (memory.total_bytes, memory.available_bytes) == (512 * 2**20, 12 * 2**20)
