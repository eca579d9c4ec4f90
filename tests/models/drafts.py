"""Asking a drafter for a block and holding it against the definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tests.models.conftest import Tiny
from tests.models.feeding import worst

if TYPE_CHECKING:
    from dspark_models.protocols import DraftBlock, DraftRequest

LOGITS = 1e-4
CONFIDENCE = 1e-5


class Recorder:
    """A sampler that draws the ids it was told to and keeps the logits it was shown."""

    def __init__(self, ids: Sequence[int] | None = None) -> None:
        self.ids = ids
        self.logits: list[Tensor] = []
        self.slots: list[int] = []

    def __call__(self, slot: int, logits: Tensor) -> tuple[int, Tensor | None]:
        self.slots.append(slot)
        self.logits.append(logits.clone())
        return (int(logits.argmax()) if self.ids is None else self.ids[slot]), None


def request(sequence: int, anchor: int, position: int, sampler: Recorder, length: int = 0) -> DraftRequest:
    from dspark_models.protocols import DraftRequest

    return DraftRequest(sequence, anchor, position, sampler, length)


def draft_at(
    model: Tiny, sequence: int, position: int, ids: Sequence[int] | None = None, length: int = 0
) -> tuple[DraftBlock, Tensor]:
    """One block after the anchor at `position` of the model's text -> (block, the logits [K, V] of its slots)."""
    recorder = Recorder(ids)
    anchor = int(model.ids[position])
    block = model.drafter.draft([request(sequence, anchor, position, recorder, length)])[0]
    assert recorder.slots == list(range(length or model.drafter.block_size))
    return block, torch.stack(recorder.logits)


def agrees_with_definition(model: Tiny, position: int, block: DraftBlock, logits: Tensor) -> None:
    expected = model.drafted64(position, block.ids)
    assert logits.dtype == torch.float32
    assert worst(logits, expected.logits) < LOGITS
    assert worst(torch.tensor(block.confidences), expected.confidences) < CONFIDENCE
