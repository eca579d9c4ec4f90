"""How fast experts come from the disk: random reads of one V4-Flash expert each, past the page cache.

A large file that is already there is read; without one a temporary file is written. That file has no name from the
start (or loses it before the first byte), so nothing is left behind by an error, Ctrl-C or a kill.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from dspark_local.hardware.disk import filesystem_type, nearest_existing, read_disk
from dspark_local.hardware.unmeasured import NotMeasuredError

READ_BYTES = 13_369_344  # one routed expert of V4-Flash in FP4, a multiple of the page size
LEAST_FREE_BYTES = 2 * 10**9
_IN_FLIGHT = 4  # an NVMe disk needs a few requests at once; an expert store issues as many
_TEMPORARY_READS = 20
_WRITE_SECONDS = 1.5
_LARGE_ENOUGH = 64 * READ_BYTES  # a drive's own cache would flatter a smaller file
_FILES_LOOKED_AT = 4000
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


def measure_random_reads(folder: Path, seconds: float = 1.0) -> float:
    """Bytes a second of random 13,369,344-byte reads, four in flight, on the disk of `folder`.

    Raises NotMeasuredError when there is nothing to read and nothing may be written, or the page cache cannot be
    kept out; OSError when the disk fails.
    """
    if not hasattr(os, "preadv"):
        raise NotMeasuredError("Disk reads are not measured on this system.")
    kind = filesystem_type(folder)
    if kind in _IN_MEMORY:
        raise NotMeasuredError(f"The folder lies in memory ({kind}), so there is no disk to measure.")
    existing = _large_file(folder) if folder.is_dir() else None
    if existing is not None:
        descriptor = os.open(existing, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            return _rate(descriptor, os.fstat(descriptor).st_size // READ_BYTES, seconds)
        finally:
            os.close(descriptor)
    with _temporary_file(folder) as (descriptor, reads):
        return _rate(descriptor, reads, seconds)


def _large_file(folder: Path) -> Path | None:
    """Some file large enough; not one with holes, which would read as fast as memory."""
    looked_at = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            looked_at += 1
            path = Path(parent, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            is_whole = status.st_blocks * 512 >= status.st_size
            if (
                stat.S_ISREG(status.st_mode)
                and status.st_size >= _LARGE_ENOUGH
                and is_whole
                and os.access(path, os.R_OK)
            ):
                return path
            if looked_at >= _FILES_LOOKED_AT:
                return None
    return None


@contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[int, int]]:
    """(descriptor, number of reads it holds) of a nameless file of at most 267 MB on the disk of `folder`."""
    free = read_disk(folder).free_bytes
    if free < LEAST_FREE_BYTES:
        raise NotMeasuredError("Less than 2 GB is free on the disk, so no test file was written.")
    place = nearest_existing(folder)
    try:
        file = tempfile.TemporaryFile(dir=place, prefix=".dspark-disk-test-")  # noqa: SIM115
    except OSError as error:
        raise NotMeasuredError(f"No test file can be written to {place}: {error.strerror}.") from error
    with file:
        block = random.randbytes(READ_BYTES)  # a disk or file system that compresses gains nothing
        end = time.perf_counter() + _WRITE_SECONDS
        reads = 0
        while reads < _TEMPORARY_READS and (reads < _IN_FLIGHT or time.perf_counter() < end):
            try:
                file.write(block)
                file.flush()
                os.fsync(file.fileno())  # else the budget would be spent and the disk not yet begun
            except OSError as error:
                raise NotMeasuredError(f"The test file could not be written: {error.strerror}.") from error
            reads += 1
        yield file.fileno(), reads


def _rate(descriptor: int, reads: int, seconds: float) -> float:
    before_read = _keep_page_cache_out(descriptor)
    order = list(range(reads))
    random.shuffle(order)
    lock = threading.Lock()
    interrupted = threading.Event()
    done = 0

    def read_until(end: float) -> None:
        nonlocal done
        with mmap.mmap(-1, READ_BYTES) as buffer:  # page-aligned, as O_DIRECT demands
            while time.perf_counter() < end and not interrupted.is_set():
                with lock:
                    place = order[done % reads]
                    done += 1
                before_read(place * READ_BYTES)
                _read_whole(descriptor, buffer, place * READ_BYTES)

    start = time.perf_counter()
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        try:
            for result in [pool.submit(read_until, start + seconds) for _ in range(_IN_FLIGHT)]:
                result.result()
        finally:
            interrupted.set()  # Ctrl-C, or a failed read, need not wait for the other readers' time to be over
    return done * READ_BYTES / (time.perf_counter() - start)


def _read_whole(descriptor: int, buffer: mmap.mmap, offset: int) -> None:
    with memoryview(buffer) as view:
        filled = 0
        while filled < READ_BYTES:
            with view[filled:] as rest:
                got = os.preadv(descriptor, [rest], offset + filled)
            if got == 0:
                raise OSError(errno.EIO, "the file ended early")
            filled += got


def _keep_page_cache_out(descriptor: int) -> Callable[[int], None]:
    """Switch the cache off for this descriptor, or return what has to be called before a read at an offset."""
    import fcntl

    def nothing(offset: int) -> None:
        pass

    if hasattr(os, "O_DIRECT"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_DIRECT)
            with mmap.mmap(-1, mmap.PAGESIZE) as page:
                os.preadv(descriptor, [page], 0)  # some file systems take the flag and refuse the read
        except OSError:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_DIRECT)
        else:
            return nothing
    if hasattr(fcntl, "F_NOCACHE"):  # macOS
        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
        return nothing
    if hasattr(os, "posix_fadvise"):
        return lambda offset: os.posix_fadvise(descriptor, offset, READ_BYTES, os.POSIX_FADV_DONTNEED)
    raise NotMeasuredError("The page cache cannot be kept out of disk reads on this system.")
