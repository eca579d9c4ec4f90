"""Log-probabilities of given tokens: what evaluators need, computed with the caches that generation uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dspark_local.engine.session import Session
from dspark_local.engine.task import check_ids
from dspark_local.errors import ContextLengthError

SCORE_CHUNK = 128
"""Rows of logits at once: [128, V] float32 is 66 MB for V4's vocabulary."""


def score_tokens(session: Session, token_ids: Sequence[int], chunk: int = SCORE_CHUNK) -> list[float | None]:
    """Natural-log probability of each id given those before it, float32; the first is None.

    session must be empty. UsageError for no ids or an id outside the vocabulary, ContextLengthError for too many.
    """
    check_ids(token_ids, session.target.vocab_size)
    if len(token_ids) > session.target.context_length:
        raise ContextLengthError(len(token_ids), session.target.context_length)
    scores: list[float | None] = [None]
    for start in range(0, len(token_ids) - 1, chunk):
        rows = token_ids[start : min(start + chunk, len(token_ids) - 1)]
        log_probabilities = session.append(rows, "all").float().log_softmax(-1)
        following = torch.tensor(token_ids[start + 1 : start + 1 + len(rows)], device=log_probabilities.device)
        scores += log_probabilities.gather(1, following.unsqueeze(1)).squeeze(1).tolist()
    return scores
