"""Lightning indexer: how much each query wants each compressed entry."""

from __future__ import annotations

import torch
from torch import Tensor


def index_scores(queries: Tensor, keys: Tensor, head_weights: Tensor) -> Tensor:
    """queries [T, H, D], keys [N, D], head_weights [T, H] float32 -> scores [T, N] float32.

    score_n = sum over heads of weight_h * relu(q_h . k_n); the weights may be negative.
    """
    products = torch.relu(torch.einsum("thd,nd->thn", queries.float(), keys.float()))
    return torch.einsum("thn,th->tn", products, head_weights)
