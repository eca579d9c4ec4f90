"""A file that is being downloaded: its bytes so far, and a journal of which they are.

The journal is written after the bytes it speaks of, with every few kilobytes received, so a killed process loses what
was on the wire and nothing else. It is not flushed to the platter: a power cut may leave a journal that promises too
much, and then the hash of the finished file tells. Where no hash is known (`durable`), the bytes are flushed first.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

_COUNT_BYTES = 8
_DURABLE_STEP_BYTES = 16 * 2**20


class Piece(NamedTuple):
    """`length` bytes at `source` of the hub's file, which belong at `target` of ours."""

    source: int
    target: int
    length: int


def whole_file(size: int, segment_bytes: int) -> tuple[Piece, ...]:
    """The pieces of a file that is taken as it is. An empty file has none."""
    return tuple(Piece(at, at, min(segment_bytes, size - at)) for at in range(0, size, segment_bytes))


class Part:
    """The partial file at `path` with its journal beside it. Safe to use from several threads.

    pieces are in ascending order of both source and target, and fill the file behind `prefix` without gaps. `key`
    says what the bytes are of: a journal with another key counts for nothing. Raises OSError.
    """

    def __init__(
        self,
        path: Path,
        journal: Path,
        pieces: Sequence[Piece],
        *,
        key: str,
        prefix: bytes = b"",
        durable: bool = False,
    ) -> None:
        self.path = path
        self.pieces = tuple(pieces)
        self._journal_path = journal
        self._key = key
        self._prefix = prefix
        self._durable = durable
        self._unflushed = 0
        self._sources = [piece.source for piece in pieces]
        self._filled = [0] * len(pieces)
        self._front = 0
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    @property
    def size(self) -> int:
        """Bytes of the finished file."""
        return len(self._prefix) + sum(piece.length for piece in self.pieces)

    @property
    def done(self) -> int:
        """Bytes of the pieces that are on the disk, the prefix not counted."""
        with self._lock:
            return sum(self._filled)

    def is_full(self, index: int) -> bool:
        """Whether a piece is complete."""
        with self._lock:
            return self._filled[index] == self.pieces[index].length

    def missing(self, index: int) -> tuple[int, int]:
        """The range [start, end) of the hub's file that a piece still lacks."""
        with self._lock:
            piece = self.pieces[index]
            return piece.source + self._filled[index], piece.source + piece.length

    def frontier(self) -> int:
        """How many bytes from the start of our file are there without a gap."""
        with self._lock:
            while self._front < len(self.pieces) and self._filled[self._front] == self.pieces[self._front].length:
                self._front += 1
            if self._front == len(self.pieces):
                return self.size
            return self.pieces[self._front].target + self._filled[self._front]

    def write(self, source: int, data: bytes) -> int:
        """Store bytes that lie at `source` of the hub's file. Returns how many of them were new.

        Passed over: what is there already, what no piece wants, and what would leave a gap in its piece.
        """
        gained = 0
        rest = memoryview(data)
        with self._lock:
            while rest:
                index = bisect_right(self._sources, source) - 1
                if index < 0 or source >= self.pieces[index].source + self.pieces[index].length:
                    if index + 1 == len(self.pieces):
                        break
                    skip = self._sources[index + 1] - source
                else:
                    skip = min(len(rest), self.pieces[index].source + self.pieces[index].length - source)
                    gained += self._fill(index, source - self.pieces[index].source, rest[:skip])
                source, rest = source + skip, rest[skip:]
        return gained

    def _fill(self, index: int, within: int, data: memoryview) -> int:
        filled = self._filled[index]
        fresh = data[filled - within :] if within <= filled else data[:0]
        if not fresh:
            return 0
        self._stream.seek(self.pieces[index].target + filled)
        written = 0
        while written < len(fresh):
            written += self._stream.write(fresh[written:])
        self._filled[index] = filled + written
        self._note(index, written)
        return written

    def _note(self, index: int, written: int) -> None:
        if self._durable:
            self._unflushed += written
            if self._unflushed < _DURABLE_STEP_BYTES:
                return
            self._flush_durably()
            return
        self._write_count(index)

    def _flush_durably(self) -> None:
        os.fsync(self._stream.fileno())
        self._unflushed = 0
        for index in range(len(self.pieces)):
            self._write_count(index)

    def _write_count(self, index: int) -> None:
        self._journal.seek(self._counts_at + index * _COUNT_BYTES)
        self._journal.write(self._filled[index].to_bytes(_COUNT_BYTES, "little"))

    def flush(self) -> None:
        """Everything onto the platter, which may take seconds and holds nobody up. Raises OSError."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Let go of the files; both stay, for the next run."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._durable:
                self._flush_durably()
            self._stream.close()
            self._journal.close()

    def move_to(self, target: Path) -> None:
        """The bytes are what they should be, and flushed: become `target`, in one step. Raises OSError."""
        self.close()
        os.replace(self.path, target)
        self._journal_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """The bytes are not what they should be: begin anew. Raises OSError."""
        self.close()
        self._journal_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        with self._lock:
            self._filled = [0] * len(self.pieces)
            self._front = 0
            self._open()

    def remove(self) -> None:
        """Delete both files."""
        self.close()
        self._journal_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        header = _header(self._key, self.pieces)
        self._counts_at = len(header)
        known = read_journal(self.path, self._journal_path, self.pieces, self._key)
        if known is None:
            # Without its journal a part means nothing; the journal comes first, so no part is ever without.
            self.path.unlink(missing_ok=True)
            self._journal_path.write_bytes(header + bytes(_COUNT_BYTES * len(self.pieces)))
        else:
            self._filled = known
        self.path.touch()
        self._stream: BinaryIO = self.path.open("r+b", buffering=0)
        self._journal: BinaryIO = self._journal_path.open("r+b", buffering=0)
        self._stream.write(self._prefix)


def read_journal(path: Path, journal: Path, pieces: Sequence[Piece], key: str) -> list[int] | None:
    """How many bytes of each piece are in the partial file; None when that is not known, as when there is none."""
    header = _header(key, pieces)
    try:
        content = journal.read_bytes()
        size = path.stat().st_size
    except OSError:
        return None
    counts = content[len(header) :]
    if not content.startswith(header) or len(counts) != _COUNT_BYTES * len(pieces):
        return None
    numbers = [int.from_bytes(counts[at : at + _COUNT_BYTES], "little") for at in range(0, len(counts), _COUNT_BYTES)]
    # A file system that lost the end of the file in a crash has lost these bytes too.
    return [
        max(0, min(number, piece.length, size - piece.target)) for number, piece in zip(numbers, pieces, strict=True)
    ]


def _header(key: str, pieces: Sequence[Piece]) -> bytes:
    return json.dumps({"key": key, "pieces": len(pieces)}).encode() + b"\n"
