"""Whether this Linux runs inside Windows."""

from __future__ import annotations

from pathlib import Path


def is_wsl(root: Path = Path("/")) -> bool:
    """Whether the kernel is that of the Windows Subsystem for Linux, which names Microsoft in its release."""
    try:
        release = (root / "proc/sys/kernel/osrelease").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "microsoft" in release.lower()
