"""A file that is to be fetched: from where, to where, which bytes, and what they must hash to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dspark_local.errors import IntegrityError
from dspark_local.hub.part import Part, Piece, read_journal
from dspark_local.hub.ranged import Source
from dspark_local.store.digests import Digest
from dspark_local.store.snapshots import JOURNAL_ENDING, PART_ENDING


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to be written to `target`. digest None: nobody recorded one, because it is a part of the hub's file."""

    source: Source
    target: Path
    lock: Path
    pieces: tuple[Piece, ...]
    digest: Digest | None
    prefix: bytes = b""

    @property
    def nbytes(self) -> int:
        """Bytes to come over the network."""
        return sum(piece.length for piece in self.pieces)

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.target.with_name(self.target.name + PART_ENDING)

    @property
    def journal(self) -> Path:
        """Which bytes of it are there."""
        return self.target.with_name(self.target.name + JOURNAL_ENDING)

    def open_part(self) -> Part:
        """Begin or continue. Raises OSError."""
        durable = self.digest is None
        return Part(self.part, self.journal, self.pieces, key=self._key, prefix=self.prefix, durable=durable)

    def kept_bytes(self) -> int:
        """Bytes that earlier runs left on the disk."""
        return sum(read_journal(self.part, self.journal, self.pieces, self._key) or ())

    @property
    def _key(self) -> str:
        layout = hashlib.sha256(repr((self.pieces, self.prefix)).encode()).hexdigest()[:16]
        return f"{self.source.etag} {layout}"

    def mismatch(self, found: str) -> IntegrityError:
        """The error for content that was wrong twice."""
        assert self.digest is not None
        return IntegrityError(
            f"{self.source.path} of {self.source.repo} arrived twice with {self.digest.kind} {found[:16]}…, "
            f"the hub recorded {self.digest.value[:16]}….",
            hint="It was deleted, the other files stay. Run the same command to fetch it again; if that does not help, "
            "the network, this computer's memory or the mirror changes data.",
        )
