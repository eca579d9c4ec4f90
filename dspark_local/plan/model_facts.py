"""What a plan needs to know of a model, whatever its family. Plain numbers: nothing here opens a file.

Bytes are those of the files. `lookup` weights are read one row a token, so they may lie in RAM at no cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

CacheBytes = Callable[[int], dict[str, int]]
"""Context in tokens -> bytes of one sequence's caches by part."""

FOUR_BIT = 4.25
"""Bits a value in a 4-bit format with one 8-bit scale for 32 values, such as MXFP4."""


@dataclass(frozen=True, slots=True)
class Experts:
    """The routed experts of each block of a kind: how many, how many a token uses, bytes and values of one."""

    count: int
    per_token: int
    nbytes: int
    values: int


@dataclass(frozen=True, slots=True)
class DraftFacts:
    """A draft model.

    block_size     drafts a round
    passes         passes of its blocks that one round takes: 1 for a block drafter, block_size for plain MTP
    dense_bytes    read in every pass; head_bytes of the target are read with it
    per_draft_bytes  read once for every draft besides, as a Markov head is
    lookup_bytes   read row by row
    unloaded_bytes  stored but not needed, such as copies of the target's embedding and head
    experts        of each of its `layers` blocks; None for a dense draft
    """

    kind: Literal["dspark", "mtp", "separate"]
    block_size: int
    passes: int
    layers: int
    dense_bytes: int
    per_draft_bytes: int
    lookup_bytes: int
    experts: Experts | None
    cache_bytes: CacheBytes
    unloaded_bytes: int = 0

    @property
    def expert_bytes(self) -> int:
        """All routed experts."""
        return self.layers * self.experts.count * self.experts.nbytes if self.experts else 0

    @property
    def total_bytes(self) -> int:
        """All its weights as they are stored."""
        loaded = self.dense_bytes + self.per_draft_bytes + self.lookup_bytes + self.expert_bytes
        return loaded + self.unloaded_bytes


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A target and, where it has one, its draft.

    dense_bytes        all layers without routed experts and lookup tables: read in every pass
    dense_bits         bits a value of dense_bytes, for what fewer bits would save
    head_bytes         the output head, read in every pass
    lookup_bytes       embeddings and routing tables
    layers             with experts if there are any
    read_per_context_token  cache bytes that one token's attention reads for each token of context
    sequences          conversations whose caches the engine keeps side by side
    """

    name: str
    layers: int
    dense_bytes: int
    dense_bits: float
    head_bytes: int
    lookup_bytes: int
    experts: Experts | None
    cache_bytes: CacheBytes
    read_per_context_token: float
    max_context: int
    sequences: int = 1
    draft: DraftFacts | None = None

    @property
    def expert_bytes(self) -> int:
        """All routed experts of the target."""
        return self.layers * self.experts.count * self.experts.nbytes if self.experts else 0

    @property
    def total_bytes(self) -> int:
        """All weights, the draft's included: what a download takes on the disk."""
        own = self.dense_bytes + self.head_bytes + self.lookup_bytes + self.expert_bytes
        return own + (self.draft.total_bytes if self.draft else 0)

    @property
    def blocks(self) -> int:
        """Blocks with routed experts that share the fast memory, the draft's included."""
        drafts = self.draft.layers if self.draft and self.draft.experts else 0
        return (self.layers + drafts) if self.experts else 0

    def cache_parts(self, context: int) -> dict[str, int]:
        """Bytes of the caches of all sequences by part, the draft's included."""
        parts = self.cache_bytes(context) | (self.draft.cache_bytes(context) if self.draft else {})
        return {part: self.sequences * nbytes for part, nbytes in parts.items()}

    def without_draft(self) -> ModelFacts:
        """The same target alone."""
        return replace(self, draft=None)

    def with_4bit_dense(self) -> ModelFacts:
        """The same model with its dense layers, its head and its draft's dense layers cut to 4 bits a value."""
        if self.dense_bits <= FOUR_BIT:
            return self
        layers = FOUR_BIT / self.dense_bits
        head = FOUR_BIT / 16  # heads are stored in 16 bits
        draft = self.draft
        if draft is not None:
            draft = replace(draft, dense_bytes=round(draft.dense_bytes * layers))
        return replace(
            self,
            dense_bytes=round(self.dense_bytes * layers),
            dense_bits=FOUR_BIT,
            head_bytes=round(self.head_bytes * head),
            draft=draft,
        )
