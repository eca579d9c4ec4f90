"""Single experts of one model directory, each read as if the computer had just started.

No system forgets a page that a process has mapped, so every read maps the files anew and the last one's mapping is gone
by then. Mapping itself is not timed, since an engine does it once.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import torch

from dspark_models.checkpoint import Checkpoint
from dspark_models.expert_bank.bank import ExpertBank
from dspark_models.expert_bank.layout import PARTS, ExpertPart
from dspark_models.experts import ExpertWeights, MappedExpertStore
from dspark_models.read_ahead import ReadAhead
from dspark_models.shards import TensorInfo

CAN_FORGET = hasattr(os, "posix_fadvise")
"""Whether the page cache of a file can be emptied here."""
Expert = tuple[str, int]
"""Block, such as `layers.3`, and number."""


@dataclass(frozen=True, slots=True)
class Read:
    """One timed read of nbytes; disk_bytes is what the system counted as read for this process, None if it does not."""

    seconds: float
    nbytes: int
    disk_bytes: int | None


class _NeverAsks(Checkpoint):
    """A checkpoint whose tensors are read when they are touched and no sooner."""

    def read_ahead(self, names: Iterable[str]) -> None:
        """Nothing."""


class ExpertSource:
    """An opened model directory. `experts` are all it has, `is_repacked` says whether they stand in banks.

    Whatever reads raises OSError for a file that cannot be read, and dspark_models' CheckpointError.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._opened = Checkpoint.open(path)
        self.is_repacked = self._opened.bank is not None
        found = (ExpertPart.of(tensor) for tensor in self._opened.tensors)
        self.experts: frozenset[Expert] = frozenset((of.block, of.expert) for of in found if of is not None)

    def nbytes(self, expert: Expert) -> int:
        """Bytes of all tensors of the expert."""
        return sum(info.nbytes for info in self._tensors(expert).values())

    def fetch(self, expert: Expert, *, ask: bool) -> Read:
        """Through the engine's store until every page of the expert was touched, asking the system ahead or not."""
        kind = Checkpoint if ask else _NeverAsks
        opened = self._opened
        checkpoint = kind(opened.path, opened.config, opened.tensors, ExpertBank.open(opened.path))
        for name, header_bytes in self._elsewhere(expert):
            _read_quietly(opened.tensors[name], header_bytes)
            checkpoint.get(name)
        store = MappedExpertStore(checkpoint, torch.device("cpu"))
        self.forget(expert)
        before, start = _disk_bytes(), time.perf_counter()
        _touch(store.fetch(*expert))
        seconds = time.perf_counter() - start
        disk_bytes = _since(before)
        _settle(seconds)
        return Read(seconds, self.nbytes(expert), disk_bytes)

    def read_raw(self, expert: Expert, draw: random.Random) -> Read:
        """As many bytes, in whole pages, in one piece from somewhere in the file that holds the expert's first part.

        Past the page cache where the file system allows it.
        """
        path, *_ = self._files(expert)
        pages = max(1, path.stat().st_size // mmap.PAGESIZE)
        wanted = min(-(-self.nbytes(expert) // mmap.PAGESIZE), pages)
        place = draw.randrange(pages - wanted + 1) * mmap.PAGESIZE
        # A mapping starts on a page, as direct reads demand of their target. It is used before the clock starts.
        with mmap.mmap(-1, wanted * mmap.PAGESIZE) as buffer, open_raw(path) as file, memoryview(buffer) as view:
            buffer.write(bytes(len(buffer)))
            file.seek(place)
            self.forget(expert)
            before, start = _disk_bytes(), time.perf_counter()
            filled, got = 0, 1
            while got and filled < len(view):
                with view[filled:] as rest:
                    got = file.readinto(rest) or 0
                filled += got
            seconds = time.perf_counter() - start
            disk_bytes = _since(before)
        _settle(seconds)
        return Read(seconds, filled, disk_bytes)

    def is_asked_ahead(self, expert: Expert) -> bool:
        """Whether the store has anything to ask of this system for an expert of that size that is not cached."""
        self.forget(expert)
        return ReadAhead().ask(self._tensors(expert).values())

    def forget(self, expert: Expert) -> None:
        """Empty the page cache of the files that hold the expert, where that can be done."""
        if not CAN_FORGET:
            return
        for path in self._files(expert):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                with contextlib.suppress(OSError):
                    os.fsync(descriptor)  # a page that still has to be written is not forgotten
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)

    def _tensors(self, expert: Expert) -> dict[str, TensorInfo]:
        names = (ExpertPart(*expert, part).tensor for part in PARTS)
        return {name: self._opened.tensors[name] for name in names if name in self._opened.tensors}

    def _elsewhere(self, expert: Expert) -> list[tuple[str, int]]:
        """A tensor to map each file of the expert with, far from it, and the bytes before the file's first tensor."""
        own = self._tensors(expert)
        starts = {info.shard: info.offset for info in own.values()}
        inside: dict[Path, dict[str, int]] = {}
        for name, info in self._opened.tensors.items():
            if info.shard in starts:
                inside.setdefault(info.shard, {})[name] = info.offset
        return [
            (max(others, key=lambda name: abs(places[name] - starts[shard])), min(places.values()))
            for shard, places in inside.items()
            if (others := places.keys() - own.keys())
        ]

    def _files(self, expert: Expert) -> list[Path]:
        return list(dict.fromkeys(info.shard for info in self._tensors(expert).values()))


def open_raw(path: Path) -> FileIO:
    """The file for reading without buffers of our own, and without the system's where it lets us."""
    if hasattr(os, "O_DIRECT"):
        with contextlib.suppress(OSError):
            file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_DIRECT))
            try:
                with mmap.mmap(-1, mmap.PAGESIZE) as page:
                    file.readinto(page)  # some file systems take the flag and refuse the read
                return file
            except OSError:
                file.close()
    return FileIO(path)


def _read_quietly(info: TensorInfo, header_bytes: int) -> None:
    """Have the pages cached that mapping touches: the file's header and, by safetensors, where the tensor begins.

    Touched uncached they would set off a large read ahead, for the timed read to compete with or to find in memory.
    """
    with FileIO(info.shard) as file:
        if CAN_FORGET:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.read(header_bytes)
        file.seek(info.offset)
        file.read(1)


def _touch(weights: ExpertWeights) -> None:
    for matrix in weights:
        for tensor in (matrix.weight, matrix.scale):
            if tensor is not None:
                content = tensor.view(torch.uint8).flatten()
                content[:: mmap.PAGESIZE].sum()
                content[-1].item()  # on a page of its own where the tensor starts inside one


def _settle(seconds: float) -> None:
    """Let the system end what it reads on after a read that took so long: pages on their way are not forgotten."""
    time.sleep(max(0.02, 2 * seconds))


def _disk_bytes() -> int | None:
    """What Linux counted so far as read from storage for this process."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes:")), None)


def _since(before: int | None) -> int | None:
    now = _disk_bytes()
    return None if before is None or now is None else now - before
