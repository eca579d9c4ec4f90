"""Manifold-constrained hyper-connections: several residual streams, mixed by a doubly stochastic matrix.

Names: N tokens, S streams (4), D hidden size. Source: DeepSeek-V4 technical report (mHC); Sinkhorn & Knopp 1967.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class HyperConnectionWeights(NamedTuple):
    """fn [2S + S*S, S*D], base [2S + S*S], scale [3], float32; for the final collapse [S, S*D], [S], [1]."""

    fn: Tensor
    base: Tensor
    scale: Tensor


class StreamMix(NamedTuple):
    """post [N, S] and comb [N, S, S], float32, both needed to write a sub-layer's output back into the streams."""

    post: Tensor
    comb: Tensor


def _mixing_logits(streams: Tensor, fn: Tensor, norm_eps: float) -> Tensor:
    """fn . v / rms(v) for v the concatenated streams, float32 [N, rows of fn]."""
    flat = streams.flatten(1).float()
    return (flat @ fn.t()) * torch.rsqrt(flat.square().mean(-1, keepdim=True) + norm_eps)


def sinkhorn(logits: Tensor, iterations: int, eps: float) -> Tensor:
    """logits [N, S, S] -> nearly doubly stochastic, float32.

    A softmax over the last axis, then a column normalisation, then `iterations - 1` rounds of rows and columns: the
    last step is a column normalisation.
    """
    matrix = torch.softmax(logits, dim=-1) + eps
    matrix = matrix / (matrix.sum(-2, keepdim=True) + eps)
    for _ in range(iterations - 1):
        matrix = matrix / (matrix.sum(-1, keepdim=True) + eps)
        matrix = matrix / (matrix.sum(-2, keepdim=True) + eps)
    return matrix


def read_streams(
    streams: Tensor, weights: HyperConnectionWeights, iterations: int, eps: float, norm_eps: float
) -> tuple[Tensor, StreamMix]:
    """streams [N, S, D] -> (the sub-layer's input [N, D] in their dtype, what write_streams needs).

    The input is a weighted sum of the raw streams; the weights are computed from the normalised ones.
    """
    count = streams.shape[1]
    logits = _mixing_logits(streams, weights.fn, norm_eps)
    base, scale = weights.base, weights.scale
    pre = torch.sigmoid(logits[:, :count] * scale[0] + base[:count]) + eps
    post = 2 * torch.sigmoid(logits[:, count : 2 * count] * scale[1] + base[count : 2 * count])
    comb = (logits[:, 2 * count :] * scale[2] + base[2 * count :]).unflatten(-1, (count, count))
    mixed = torch.einsum("ns,nsd->nd", pre, streams.float()).to(streams.dtype)
    return mixed, StreamMix(post, sinkhorn(comb, iterations, eps))


def write_streams(output: Tensor, streams: Tensor, mix: StreamMix) -> Tensor:
    """output [N, D] of a sub-layer, streams [N, S, D] as it read them -> new streams [N, S, D].

    New stream k = post_k * output + sum over j of comb[j, k] * stream_j: the sum runs over the first index.
    """
    kept = torch.einsum("njk,njd->nkd", mix.comb, streams.float())
    return (kept + mix.post[..., None] * output.float()[:, None]).to(streams.dtype)


def collapse_streams(streams: Tensor, weights: HyperConnectionWeights, eps: float, norm_eps: float) -> Tensor:
    """streams [N, S, D] -> [N, D]: a sum weighted by sigmoids that need not add up to one."""
    logits = _mixing_logits(streams, weights.fn, norm_eps)
    pre = torch.sigmoid(logits * weights.scale[0] + weights.base) + eps
    return torch.einsum("ns,nsd->nd", pre, streams.float()).to(streams.dtype)
