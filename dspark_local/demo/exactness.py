"""How well the target answers held-out prompts.

Greedy decoding writes the reference answer exactly when, with the reference as
input, every answer token (the end token too) is the most likely one. So one
forward pass per prompt gives the share of exact answers.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from dspark_local.demo.batches import pad
from dspark_local.demo.corpus import DOMAINS
from dspark_local.demo.heldout import held_out
from dspark_local.demo.layout import Conversation
from dspark_local.demo.tokens import encode
from dspark_models.training.target import Target


@torch.no_grad()
def score(
    target: Target, tokenizer: Tokenizer, items: list[Conversation], select: bool = True
) -> tuple[float, float, list[bool]]:
    """(answer loss, top-1 share, exact per conversation) on the last answers."""
    device = next(target.parameters()).device
    rows = [encode(tokenizer, item) for item in items]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    exact = [False] * len(rows)
    loss_sum = hits = count = 0.0
    for start in range(0, len(order), 16):
        part = order[start : start + 16]
        batch = pad([rows[i] for i in part]).to(device)
        logits = target(batch.ids, select)[:, :-1].float()
        goal, learn = batch.ids[:, 1:], batch.answer[:, 1:]
        loss = F.cross_entropy(logits.transpose(1, 2), goal, reduction="none")
        right = logits.argmax(-1) == goal
        loss_sum += float(loss[learn].sum())
        hits += float(right[learn].sum())
        count += float(learn.sum())
        for row, i in enumerate(part):
            exact[i] = bool(right[row][learn[row]].all())
    return loss_sum / count, hits / count, exact


def score_domains(target: Target, tokenizer: Tokenizer, count: int) -> dict[str, Any]:
    """Held-out loss, top-1 and exact share per domain, rounded, chat mode."""
    was_training = target.training
    target.eval()
    out: dict[str, Any] = {}
    for domain in DOMAINS:
        loss, top, exact = score(target, tokenizer, held_out(domain, count))
        out[domain] = [round(loss, 4), round(top, 4), round(sum(exact) / len(exact), 3)]
    target.train(was_training)
    return out
