"""Writing so that what counts as written survives a power cut."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK_BYTES = 8 * 2**20

OnBytes = Callable[[int], None]


def ignore_bytes(count: int) -> None:
    """Progress for nobody."""


def sync_file(file: BinaryIO) -> None:
    """Bring a file to the disk and forget its cached pages, so that reading it again asks the disk."""
    file.flush()
    os.fsync(file.fileno())
    forget(file)


def forget(file: BinaryIO) -> None:
    """Let go of the cached pages of a file that will not be read again soon."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: Path) -> None:
    """Bring names created or replaced in a folder to the disk."""
    if os.name == "nt":  # Windows cannot open folders, and keeps its names in a journal
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place(temporary: Path, path: Path) -> None:
    """Give a file that is on the disk its real name, in one step that lasts."""
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: after a crash the old file is there or the new one, whole."""
    temporary = path.with_name(f"{path.name}.partial")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    place(temporary, path)


def copy_file(source: Path, path: Path) -> None:
    """Copy as write_file writes."""
    temporary = path.with_name(f"{path.name}.partial")
    with source.open("rb") as reader, temporary.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
        forget(reader)
        sync_file(writer)
    place(temporary, path)


def hash_spans(
    file: BinaryIO, spans: Iterable[tuple[int, int]], on_bytes: OnBytes = ignore_bytes, also: _Hash | None = None
) -> str:
    """SHA-256 of (offset, nbytes) of a file, one after the other. EOFError when the file ends before.

    `also` is fed the same bytes.
    """
    digest = hashlib.sha256()
    for offset, nbytes in spans:
        file.seek(offset)
        while nbytes:
            chunk = file.read(min(CHUNK_BYTES, nbytes))
            if not chunk:
                raise EOFError(f"the file ends {nbytes:,} bytes early")
            digest.update(chunk)
            if also is not None:
                also.update(chunk)
            on_bytes(len(chunk))
            nbytes -= len(chunk)
    return digest.hexdigest()
