"""RAM as this process may use it."""

from __future__ import annotations

from pathlib import Path

from dspark_local.hardware.cgroup import memory_limit
from dspark_local.hardware.facts import Memory


def read_memory(root: Path = Path("/")) -> Memory:
    """Total and available RAM; the limit of a container replaces the machine's where it is tighter."""
    import psutil

    machine = psutil.virtual_memory()
    limit = memory_limit(root)
    if limit is None:
        return Memory(machine.total, machine.available)
    return Memory(min(machine.total, limit.limit), min(machine.available, limit.left))
