"""Room on the disk, asked before the first byte and again while a download runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from dspark_local.errors import DiskFullError
from dspark_local.hub.errors import disk_full


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write where `folder` lies or will lie. Raises OSError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_room(folder: Path, needed: int, *, kept: int) -> None:
    """DiskFullError, with both numbers, when `needed` more bytes do not fit. kept: bytes of it that are there."""
    free = free_bytes(folder)
    if needed > free:
        raise disk_full(folder, needed, free, kept=kept)


def out_of_room(folder: Path, needed: int, *, kept: int) -> DiskFullError:
    """The error for a write that the disk refused."""
    return disk_full(folder, needed, min(free_bytes(folder), needed - 1), kept=kept)
