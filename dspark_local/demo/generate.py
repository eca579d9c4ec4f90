"""Plain greedy decoding of many prompts at once, by running whole sequences again and again.

There is no cache here: this is for a few hundred short answers after training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_local.demo.batches import PAD, STEP
from dspark_models.training.target import Target

EOS_ID = 1
# Rows decoded together; finished rows make room for nobody, so keep groups alike.
ROWS = 32


@torch.no_grad()
def greedy(target: Target, prompts: list[list[int]], limit: int) -> list[list[int]]:
    """Answers (end token included when reached) to token prompts, greedily."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), ROWS):
        part = order[start : start + ROWS]
        for i, answer in zip(part, _group(target, [prompts[i] for i in part], limit), strict=True):
            answers[i] = answer
    return answers


def _group(target: Target, prompts: list[list[int]], limit: int) -> list[list[int]]:
    """Decode one group together; rows that have ended drop out."""
    device = next(target.parameters()).device
    rows = [list(p) for p in prompts]
    active = list(range(len(rows)))
    for _ in range(limit):
        width = -(-max(len(rows[i]) for i in active) // STEP) * STEP
        ids = torch.full((len(active), width), PAD)
        for k, i in enumerate(active):
            ids[k, : len(rows[i])] = torch.tensor(rows[i])
        hidden, _ = target.states(ids.to(device), select=True)
        last = torch.tensor([len(rows[i]) - 1 for i in active], device=device)
        picked: Tensor = hidden[torch.arange(len(active), device=device), last]
        for i, token in zip(active, target.logits(picked).argmax(-1).tolist(), strict=True):
            rows[i].append(token)
        active = [i for i in active if rows[i][-1] != EOS_ID]
        if not active:
            break
    return [row[len(p) :] for row, p in zip(rows, prompts, strict=True)]
