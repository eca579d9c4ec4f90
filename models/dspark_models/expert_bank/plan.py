"""What a repacking is going to write, fixed before the first byte, and what of it is done.

Both lie in the workspace of the folder that is being written, so that the work continues after any interruption, also
when the finished shards of the source are gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field

from dspark_models.errors import CheckpointError
from dspark_models.expert_bank.index import Sha256, Source
from dspark_models.expert_bank.layout import BlockLayout, ExpertPart, OnDisk, lay_out
from dspark_models.shards import TensorInfo

Headers = Mapping[str, Mapping[str, TensorInfo]]
"""Of each shard's file name, what its header says."""


class SourceShard(OnDisk):
    """A shard of the source: file name, bytes of its tensors, and the SHA-256 of what its header says."""

    name: Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*\.safetensors$")]
    nbytes: int
    header: Sha256


class RepackPlan(OnDisk):
    """All shards and all banks. `origin`, a path or a commit, tells two sources of the same sizes apart."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    origin: str
    source: Source
    shards: tuple[SourceShard, ...]
    blocks: tuple[BlockLayout, ...]

    @classmethod
    def of(cls, headers: Headers, *, origin: str, name: str) -> Self:
        """Plan from the headers of all shards; their data need not be there yet.

        CheckpointError when there are no routed experts, or experts that are incomplete or unlike each other, or when
        a tensor stands in two shards.
        """
        owners: dict[str, str] = {}
        for shard, header in headers.items():
            for tensor in header:
                if tensor in owners:
                    raise CheckpointError(
                        f"Tensor {tensor} stands in both {owners[tensor]} and {shard}.",
                        hint="Remove the shard that does not belong to this model.",
                    )
                owners[tensor] = shard
        blocks = lay_out(item for header in headers.values() for item in header.items())
        if not blocks:
            raise CheckpointError(
                f"{name} has no routed experts, so there is nothing to repack.",
                hint="Use the model as it is.",
            )
        shards = tuple(
            SourceShard(
                name=file,
                nbytes=sum(info.nbytes for info in headers[file].values()),
                header=header_digest(headers[file]),
            )
            for file in sorted(headers)
        )
        inventory = sorted(
            (tensor, info.dtype, info.shape) for header in headers.values() for tensor, info in header.items()
        )
        return cls(origin=origin, source=Source(name=name, inventory=_digest(inventory)), shards=shards, blocks=blocks)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors of the source."""
        return sum(shard.nbytes for shard in self.shards)

    @property
    def dense_bytes(self) -> int:
        """Bytes of the tensors that belong to no routed expert."""
        return self.nbytes - sum(bank.experts * part.nbytes for bank in self.blocks for part in bank.parts)

    def shard(self, name: str) -> SourceShard:
        """The shard of that file name; CheckpointError when the source has none."""
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise CheckpointError(f"{name} is no shard of {self.source.name}.")

    def layout(self, of: ExpertPart) -> BlockLayout:
        """The bank that a tensor goes to."""
        return next(layout for layout in self.blocks if layout.block == of.block)


class Stored(OnDisk):
    """What one shard gave to a record: (offset, nbytes) within the record, and the SHA-256 of these bytes in order.

    A shard that holds the whole expert gives the whole record with its padding.
    """

    expert: int
    spans: tuple[tuple[int, int], ...]
    sha256: Sha256


class DoneDense(OnDisk):
    """The dense file made from a shard, with the names of its tensors."""

    file: str
    nbytes: int
    sha256: Sha256
    tensors: tuple[str, ...]


class DoneShard(OnDisk):
    """Everything that one shard has become, written once all of it is on the disk and was read back."""

    name: str
    dense: DoneDense | None
    stored: dict[str, tuple[Stored, ...]]


def header_digest(header: Mapping[str, TensorInfo]) -> str:
    """SHA-256 of names, dtypes, shapes and places of a shard's tensors."""
    return _digest(sorted((name, info.dtype, info.shape, info.offset, info.nbytes) for name, info in header.items()))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
