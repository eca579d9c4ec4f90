"""Asking the operating system for the bytes of several tensors at once, before they are used.

A mapped file is read a page fault at a time, each fault waiting for the disk; how much comes along is a guess of the
system, often several times too much. Asked beforehand, it reads exactly these bytes with many requests in flight.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from pathlib import Path

from dspark_models.shards import TensorInfo

STEP_BYTES = 128 * 1024
"""One call is cut to what the disk's queue takes, without a word; every Linux default takes this much."""
WORTH_ASKING_BYTES = 2**20
"""Less is read in one go anyhow, and a small model should not pay for the question."""
_CAN_ASK = hasattr(os, "posix_fadvise") and hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")


class ReadAhead:
    """Opened files to ask about; where the system cannot be asked (not Linux) nothing happens."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def ask(self, infos: Iterable[TensorInfo]) -> bool:
        """Begin to read the tensors that are not cached; returns at once, True when there was something to read."""
        infos = list(infos)
        if not _CAN_ASK or sum(info.nbytes for info in infos) < WORTH_ASKING_BYTES:
            return False
        try:
            missing = [info for info in infos if not _is_cached(self._descriptor(info.shard), info)]
            for info in missing:
                end = info.offset + info.nbytes
                for start in range(info.offset, end, STEP_BYTES):
                    os.posix_fadvise(
                        self._descriptor(info.shard), start, min(STEP_BYTES, end - start), os.POSIX_FADV_WILLNEED
                    )
        except OSError:  # advice may be refused; using the tensor says what is wrong with the file
            return False
        return bool(missing)

    def _descriptor(self, path: Path) -> int:
        descriptor = self._descriptors.get(path)
        if descriptor is None:
            descriptor = self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, descriptor)
            # Looking whether a byte is cached would else let Linux read on from there: up to six times an expert.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return descriptor


def _is_cached(descriptor: int, info: TensorInfo) -> bool:
    """Whether first and last byte can be had without waiting, which stands for those between."""
    byte = bytearray(1)
    try:
        return all(
            os.preadv(descriptor, [byte], position, os.RWF_NOWAIT)
            for position in (info.offset, info.offset + info.nbytes - 1)
        )
    except BlockingIOError:
        return False
