"""The two hashes that a hub records: sha256 for large files, git's own for small ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hashlib import _Hash

DigestKind = Literal["sha256", "git-sha1"]

_LENGTHS: dict[int, DigestKind] = {64: "sha256", 40: "git-sha1"}
_BUFFER_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file's content hashes to. value is lower-case hex: 64 digits of sha256, 40 of git-sha1."""

    kind: DigestKind
    value: str

    @classmethod
    def parse(cls, text: str) -> Digest | None:
        """The digest that `text` (an ETag, the name of a blob) spells, told by its length; None when it spells none."""
        value = text.strip('"').lower()
        kind = _LENGTHS.get(len(value))
        return cls(kind, value) if kind is not None and set(value) <= set("0123456789abcdef") else None


def new_hasher(kind: DigestKind, size: int) -> _Hash:
    """A hashlib object to feed a file of `size` bytes to. git hashes the length in front of the content."""
    if kind == "sha256":
        return hashlib.sha256()
    hasher = hashlib.sha1(usedforsecurity=False)  # git's choice, not ours
    hasher.update(b"blob %d\0" % size)
    return hasher


def hash_file(path: Path, kind: DigestKind, on_bytes: Callable[[int], None] | None = None) -> str:
    """Lower-case hex of the file's hash. on_bytes gets the size of each piece read. Raises OSError."""
    hasher = new_hasher(kind, path.stat().st_size)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            hasher.update(buffer[:count])
            if on_bytes is not None:
                on_bytes(count)
    return hasher.hexdigest()
