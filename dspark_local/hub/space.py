"""Room on the disk, asked before the first byte and again while a download runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from dspark_local.errors import DiskFullError
from dspark_local.hub.errors import disk_full


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write where `folder` lies or will lie. Raises OSError."""
    return shutil.disk_usage(_existing(folder)).free


def check_room(needed: Mapping[Path, int], *, kept: int) -> None:
    """DiskFullError, with both numbers, when the bytes still needed in each folder do not fit on its disk.

    kept: bytes of the download that are there.
    """
    disks: dict[int, tuple[Path, int]] = {}
    for folder, count in needed.items():
        disk = _existing(folder).stat().st_dev
        disks[disk] = (folder, disks.get(disk, (folder, 0))[1] + count)
    for folder, count in disks.values():
        free = free_bytes(folder)
        if count > free:
            raise disk_full(folder, count, free, kept=kept)


def out_of_room(folder: Path, needed: int, *, kept: int) -> DiskFullError:
    """The error for a write that the disk refused."""
    return disk_full(folder, needed, min(free_bytes(folder), needed - 1), kept=kept)


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
