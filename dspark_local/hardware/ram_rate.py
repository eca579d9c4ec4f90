"""How fast all cores together read RAM: the ceiling of experts computed on the CPU.

Each thread takes the maximum over its own slice, filled by itself so that its pages lie on its own memory node. The
best pass counts, as in STREAM (McCalpin 1995): noise only ever slows a pass down.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dspark_local.hardware.unmeasured import NotMeasuredError

_SMALLEST = 256 * 2**20
_LARGEST = 2 * 2**30
_UNKNOWN_CACHE = 64 * 2**20
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def measure_read_rate(threads: int, available_bytes: int, seconds: float = 0.5) -> float:
    """Bytes a second that `threads` threads read from a buffer of four times the last-level cache.

    available_bytes    RAM free now; at most an eighth of it is used
    Raises NotMeasuredError when that is too little to see past the caches.
    """
    import numpy as np

    size = min(max(4 * last_level_cache_bytes(), _SMALLEST), _LARGEST, available_bytes // 8)
    if size < _SMALLEST:
        raise NotMeasuredError("Too little RAM is free to measure its read rate.")
    share = size // threads
    with ThreadPoolExecutor(threads) as pool:
        slices = list(pool.map(lambda _: np.ones(share, dtype=np.uint8), range(threads)))
        best = float("inf")
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(np.max, slices))
            best = min(best, time.perf_counter() - start)
    return share * threads / best


def last_level_cache_bytes(root: Path = Path("/")) -> int:
    """Sum of the largest caches of all packages and clusters; 64 MiB where the system does not say."""
    caches: dict[tuple[int, str], int] = {}
    for folder in root.glob("sys/devices/system/cpu/cpu[0-9]*/cache/index[0-9]*"):
        try:
            level = int((folder / "level").read_text().strip())
            size = (folder / "size").read_text().strip()
            sharers = (folder / "shared_cpu_list").read_text().strip()
        except (OSError, ValueError):
            continue
        if size[:-1].isdigit() and size[-1] in _UNITS:
            caches[level, sharers] = int(size[:-1]) * _UNITS[size[-1]]
    last = max((level for level, _ in caches), default=None)
    return sum(size for (level, _), size in caches.items() if level == last) or _UNKNOWN_CACHE
