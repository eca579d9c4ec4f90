"""Choosing blocks for the draft's training, and their labels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dspark_local.demo.batches import Batch


class Blocks(NamedTuple):
    """A anchors per row. Slot i predicts the token at ``anchor + 1 + i``."""

    anchors: Tensor  # [B, A] positions
    tokens: Tensor  # [B, A] token ids at the anchors
    previous: Tensor  # [B * A, G] token before each predicted one
    labels: Tensor  # [B * A, G] predicted token in the text
    sources: Tensor  # [B * A, G] row-major positions of the target states for the slots
    valid: Tensor  # [B * A, G] slot lies inside the answer


def choose(batch: Batch, count: int, slots: int) -> Blocks:
    """Random anchors inside answers; the token after an anchor is in the answer too."""
    possible = batch.answer[:, :-1] & batch.answer[:, 1:]
    # A row without any pair gets anchors that are not valid.
    weights = possible.float() + 1e-9
    return blocks_at(batch, torch.multinomial(weights, count, replacement=True), slots)


def blocks_at(batch: Batch, anchors: Tensor, slots: int) -> Blocks:
    """Blocks at given anchor positions [B, A]."""
    b, s = batch.ids.shape
    offsets = torch.arange(slots, device=anchors.device)
    at = (anchors.unsqueeze(-1) + offsets).view(b, -1)
    here, after = at.clamp(max=s - 1), (at + 1).clamp(max=s - 1)
    inside = batch.answer.gather(1, after) & (at + 1 < s)
    # The anchor has to be a token that the model wrote itself.
    begun = batch.answer.gather(1, anchors)
    valid = inside.view(b, -1, slots).long().cumprod(-1).bool() & begun.unsqueeze(-1)
    rows = torch.arange(b, device=anchors.device).unsqueeze(1) * s
    flat = (-1, slots)
    return Blocks(
        anchors,
        batch.ids.gather(1, anchors),
        batch.ids.gather(1, here).view(flat),
        batch.ids.gather(1, after).view(flat),
        (rows + here).view(flat),
        valid.view(flat),
    )
