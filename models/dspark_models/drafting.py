"""What every draft with rows of context has in common: its sequences, how they are undone, how long a block may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dspark_models.protocols import DraftRequest
from dspark_models.rings import PositionRing
from dspark_models.sequences import SequenceTable


@dataclass(frozen=True, slots=True)
class DraftSnapshot:
    """Copies of the context rings of one sequence, and its lengths."""

    sequence: int
    length: int
    furthest: int
    rings: list[Tensor]


class ContextDrafter:
    """The bookkeeping half of dspark_models.protocols.Drafter.

    `rings` hold rows of committed tokens only, addressed by position, so a rewind moves a length and nothing else.
    """

    def __init__(
        self, rings: Sequence[PositionRing], *, block_size: int, rewind_span: int, weight_bytes: int, max_sequences: int
    ) -> None:
        self.rings = rings
        self.block_size = block_size
        self.weight_bytes = weight_bytes
        # The anchor is verified together with its drafts, and a pass that breaks off takes all of them back.
        self.longest_block = rewind_span - 1
        self._sequences = SequenceTable(max_sequences, rewind_span)

    def new_sequence(self) -> int:
        """See Drafter."""
        return self._sequences.reserve()

    def free_sequence(self, sequence: int) -> None:
        """See Drafter."""
        self._sequences.free(sequence)

    def rewind(self, sequence: int, length: int) -> None:
        """See Drafter. ValueError when that is more than the target's rewind span back."""
        self._sequences.rewind(sequence, length)

    def snapshot(self, sequence: int) -> DraftSnapshot:
        """See Drafter."""
        rings = [ring.data[sequence].clone() for ring in self.rings]
        return DraftSnapshot(sequence, self._sequences.length(sequence), self._sequences.furthest(sequence), rings)

    def restore(self, sequence: int, snapshot: object) -> None:
        """See Drafter. ValueError for a snapshot of another sequence."""
        if not isinstance(snapshot, DraftSnapshot) or snapshot.sequence != sequence:
            raise ValueError(f"the snapshot is not one of sequence {sequence}")
        for ring, saved in zip(self.rings, snapshot.rings, strict=True):
            ring.data[sequence] = saved
        self._sequences.restore(sequence, snapshot.length, snapshot.furthest)

    def adopt(self, sequence: int, snapshot: object) -> None:
        """See Drafter. ValueError for a sequence that is not empty, or not another one."""
        if not isinstance(snapshot, DraftSnapshot) or snapshot.sequence == sequence or self._sequences.length(sequence):
            raise ValueError(f"sequence {sequence} cannot take over what this snapshot holds")
        self.restore(sequence, replace(snapshot, sequence=sequence))

    def bytes_held(self) -> dict[str, int]:
        """See Drafter."""
        return {"draft_weights": self.weight_bytes, "draft_context": sum(ring.nbytes for ring in self.rings)}

    def _extend(self, sequence: int, position: int, count: int) -> None:
        """Record `count` observed tokens from `position` on. ValueError when a gap would arise."""
        length = self._sequences.length(sequence)
        if position != length:
            raise ValueError(f"the draft has seen {length} tokens, it cannot go on at {position}")
        self._sequences.extend(sequence, position + count)

    def _block_lengths(self, requests: Sequence[DraftRequest]) -> list[int]:
        """How many slots each request gets. ValueError when the draft has not seen exactly the tokens before it."""
        for request in requests:
            seen = self._sequences.length(request.sequence)
            if seen != request.position:
                raise ValueError(f"the anchor is at {request.position}, but the draft has seen {seen} tokens")
            if request.length < 0:
                raise ValueError(f"a block of {request.length} drafts was asked for")
        return [min(request.length or self.block_size, self.longest_block) for request in requests]


def peak_probability(logits: Tensor) -> float:
    """logits [V] -> the largest probability of their softmax: how sure a draft is, whatever is then drawn."""
    return float(torch.softmax(logits.float(), dim=-1).max())
