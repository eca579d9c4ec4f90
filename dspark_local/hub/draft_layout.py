"""Where a draft's tensors lie in a safetensors file, and the smaller file that holds them alone.

The format: 8 bytes with the header's length, a JSON header that gives each tensor's offsets behind it, the data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dspark_local.errors import CheckpointError
from dspark_local.hub.part import Piece

LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A file of some tensors of another: prefix (length and header), then the pieces in their order."""

    names: tuple[str, ...]
    prefix: bytes
    pieces: tuple[Piece, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(piece.length for piece in self.pieces)


def header_length(first: bytes, path: str) -> int:
    """What the first eight bytes say. CheckpointError when this is no safetensors file."""
    length = int.from_bytes(first, "little")
    if len(first) != LENGTH_BYTES or not 2 <= length <= _MAX_HEADER_BYTES:
        raise CheckpointError(f"{path} on the hub is no safetensors file.", hint="Pull without --draft-only.")
    return length


def excerpt(header: bytes, size: int, path: str, wants: Callable[[str], bool]) -> Excerpt:
    """The file that holds the wanted tensors, neighbours fetched together.

    size is that of the whole file. CheckpointError when the header is damaged or promises more than that.
    """
    start = LENGTH_BYTES + len(header)
    try:
        entries: dict[str, Any] = json.loads(header)
        spans = sorted(
            (int(entry["data_offsets"][0]), int(entry["data_offsets"][1]), name)
            for name, entry in entries.items()
            if name != "__metadata__" and wants(name)
        )
        fits = all(0 <= first <= last <= size - start for first, last, _ in spans)
        fits = fits and all(before[1] <= after[0] for before, after in pairwise(spans))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"The header of {path} on the hub is damaged.", hint="Pull without --draft-only."
        ) from error
    if not fits:
        raise CheckpointError(f"The header of {path} on the hub speaks of bytes that it does not have.")
    place = 0
    own: dict[str, Any] = {}
    for first, last, name in spans:
        own[name] = {**entries[name], "data_offsets": [place, place + last - first]}
        place += last - first
    text = json.dumps(own, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    prefix = len(text).to_bytes(LENGTH_BYTES, "little") + text
    pieces: list[Piece] = []
    for first, last, name in spans:
        target = len(prefix) + own[name]["data_offsets"][0]
        if pieces and pieces[-1].source + pieces[-1].length == start + first:
            pieces[-1] = pieces[-1]._replace(length=pieces[-1].length + last - first)
        elif last > first:
            pieces.append(Piece(start + first, target, last - first))
    return Excerpt(tuple(name for _, _, name in spans), prefix, tuple(pieces))


def cut(pieces: tuple[Piece, ...], segment_bytes: int) -> tuple[Piece, ...]:
    """The same bytes in pieces of at most segment_bytes, so that several connections share them."""
    return tuple(
        Piece(piece.source + at, piece.target + at, min(segment_bytes, piece.length - at))
        for piece in pieces
        for at in range(0, piece.length, segment_bytes)
    )
