"""Pools the raw rows of a group of tokens into one compressed entry, per channel.

Names: G groups that close, r tokens a group, d entry dimension. Source: DeepSeek-V4 technical report (CSA, HCA).
"""

from __future__ import annotations

import torch
from torch import Tensor


def pool_groups(values: Tensor, scores: Tensor) -> Tensor:
    """values, scores [G, r, d] float32 -> [G, d]: softmax over the r tokens, separately in each channel (HCA)."""
    return (torch.softmax(scores, dim=1) * values).sum(1)


def pool_overlapping_groups(values: Tensor, scores: Tensor, *, first_is_start: bool) -> Tensor:
    """values, scores [G + 1, r, 2d] float32, the first group being the one before -> [G, d] (CSA).

    The previous group lends its first d channels, the current one its last d: 2r candidates in each channel.
    first_is_start says that there is no previous group yet; whatever stands in its place gets no weight.
    """
    dim = values.shape[-1] // 2
    candidates = torch.cat([values[:-1, :, :dim], values[1:, :, dim:]], dim=1)
    weights = torch.cat([scores[:-1, :, :dim], scores[1:, :, dim:]], dim=1)
    if first_is_start:
        ratio = values.shape[1]
        candidates[0, :ratio] = 0.0
        weights[0, :ratio] = float("-inf")
    return pool_groups(candidates, weights)
