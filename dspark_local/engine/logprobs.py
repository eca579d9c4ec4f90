"""How likely the target found the tokens that were decided: log-softmax of its logits as they left the model.

No temperature, penalty, bias, mask or filter is in it. OpenAI's API leaves open which of these its figures contain;
so they compare between requests, and a forced token shows how little the model wanted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class TokenScore(NamedTuple):
    """A decided token's natural log-probability, and the likeliest tokens of its place as (id, logprob), best first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def score_rows(logits: Tensor, tokens: Sequence[int], top: int) -> list[TokenScore]:
    """Scores of tokens [N] that were decided from logits [N or more, V], row by row; float64 inside."""
    rows = logits[: len(tokens)].double().log_softmax(-1)
    chosen = rows.gather(1, torch.tensor(tokens, device=rows.device).unsqueeze(1)).squeeze(1).tolist()
    best = rows.topk(min(top, rows.shape[1]), dim=-1)
    likeliest = [
        tuple(zip(ids, values, strict=True))
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    return [TokenScore(*score) for score in zip(tokens, chosen, likeliest, strict=True)]
