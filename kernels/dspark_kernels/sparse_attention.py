"""Attention of each query over its own list of keys, with sinks. Keys are values too (one shared latent head).

Names: T queries, H heads, K keys per query, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sparse_attention(queries: Tensor, keys: Tensor, valid: Tensor, sinks: Tensor, scale: float) -> Tensor:
    """queries [T, H, D], keys [T, K, D], valid [T, K] bool, sinks [H] float32 -> [T, H, D] in the queries' dtype.

    The sink only enlarges the denominator. Including it in the maximum keeps extreme sinks from overflowing. A query
    without any valid key returns zeros. Float32 inside.
    """
    values = keys.float()
    logits = torch.einsum("thd,tkd->thk", queries.float(), values) * scale
    logits = logits.masked_fill(~valid[:, None], float("-inf"))
    sink = sinks.float()[None, :, None]
    peak = torch.maximum(logits.amax(-1, keepdim=True), sink)
    weights = torch.exp(logits - peak)
    weights = weights / (weights.sum(-1, keepdim=True) + torch.exp(sink - peak))
    return torch.einsum("thk,tkd->thd", weights, values).to(queries.dtype)
