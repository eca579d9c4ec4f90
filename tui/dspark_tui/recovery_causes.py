"""Why a process ended, as far as the system tells: its signal, and the counters of the out-of-memory killer."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

_COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
_MEMORY_WORDS = re.compile(
    r"out of memory|OutOfMemoryError|bad_alloc|cannot allocate memory|MemoryError", re.IGNORECASE
)


def oom_kills(counters: tuple[Path, ...] = _COUNTERS) -> int:
    """How many processes the kernel has ended for lack of memory since it started; 0 where it does not say."""
    total = 0
    for path in (*counters, *_own_cgroup()):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                total += int(value) if name == "oom_kill" else 0
    return total


def _own_cgroup() -> list[Path]:
    """The counters of the cgroup that this process, and so the engine, runs in."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers and path != "/":
                return [Path(f"/sys/fs/cgroup{path}/memory.events")]
            if "memory" in controllers.split(","):
                return [Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")]
    return []


def how_it_ended(exit_code: int, last_words: list[str], kills: int) -> tuple[str, bool]:
    """The end in words, and whether memory ran out. `kills` counts what the kernel ended for that meanwhile."""
    named_memory = any(_MEMORY_WORDS.search(line) for line in last_words)
    if exit_code == -signal.SIGKILL and kills > 0:
        return "was killed by signal 9: the computer ran out of memory, and the system ended the engine for it", True
    if exit_code == -signal.SIGKILL:
        return "was killed by signal 9, by another program or by the system", named_memory
    how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    return (f"ran out of memory and {how}" if named_memory else how), named_memory
