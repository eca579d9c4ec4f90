"""How much host memory may be pinned for copies to a card."""

from __future__ import annotations

import sys


def pinned_limit(total_bytes: int, is_wsl: bool) -> int | None:
    """Bytes that may be pinned at most, None where the system sets no limit.

    Windows, and so WSL, lends a card at most half of RAM (its "shared GPU memory"). On Linux, NVIDIA's driver does
    not count pages it pins against RLIMIT_MEMLOCK, so that limit, often 8 MiB, does not bind.
    """
    return total_bytes // 2 if is_wsl or sys.platform == "win32" else None


def locked_memory_limit() -> int | None:
    """The soft RLIMIT_MEMLOCK in bytes, None when unlimited or unknown to the system."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if soft == resource.RLIM_INFINITY else soft
