"""Room on the disk that holds the models."""

from __future__ import annotations

import shutil
from pathlib import Path

from dspark_local.hardware.facts import Disk


def read_disk(folder: Path) -> Disk:
    """Free and total bytes where `folder` is or would be created. Raises OSError when the disk cannot be asked."""
    usage = shutil.disk_usage(nearest_existing(folder))
    return Disk(str(folder), free_bytes=usage.free, total_bytes=usage.total)


def nearest_existing(folder: Path) -> Path:
    """The folder itself, or the closest ancestor that exists."""
    folder = folder.expanduser().absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def filesystem_type(folder: Path) -> str:
    """Such as ext4, tmpfs or 9p; empty where it cannot be told."""
    import psutil

    place = nearest_existing(folder).resolve()
    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return ""
    # The last mount on a folder hides those before it; max() keeps the first, hence the reversal.
    around = [mount for mount in reversed(mounts) if place.is_relative_to(mount.mountpoint)]
    return max(around, key=lambda mount: len(mount.mountpoint)).fstype if around else ""
