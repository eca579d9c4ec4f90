"""The trained target as it will be shipped: rounded to its storage formats and frozen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dspark_local.demo.batches import Batch
from dspark_local.demo.setup import Settings, load_state
from dspark_models.training.shape import Shape
from dspark_models.training.storage import round_module
from dspark_models.training.target import Target


def load_target(settings: Settings, shape: Shape, rounded: bool = True) -> Target:
    """The target of ``target.pt``, with the distilled indexer of ``indexer.pt`` if there is one."""
    state = load_state(settings.folder / "target.pt")
    if state is None:
        raise FileNotFoundError(f"{settings.folder / 'target.pt'}: run the target stage first")
    target = Target(shape)
    target.load_state_dict(state["model"])
    indexer = load_state(settings.folder / "indexer.pt")
    if indexer is not None:
        target.load_state_dict(indexer["model"], strict=False)
    if rounded:
        round_module(target)
    target.requires_grad_(False)
    return target.eval().to(settings.device)


@dataclass
class Observed:
    """A batch with what the draft may see of the target, and what it should imitate."""

    batch: Batch
    taps: Tensor  # [B, S, stages * D], bfloat16
    hidden: Tensor  # [B, S, D], float32, collapsed state before the final norm


@torch.no_grad()
def observe(target: Target, batch: Batch) -> Observed:
    """Run the target over a batch with its indexer active."""
    hidden, taps = target.states(batch.ids, select=True)
    return Observed(batch, torch.cat(taps, -1).to(torch.bfloat16), hidden.float())
