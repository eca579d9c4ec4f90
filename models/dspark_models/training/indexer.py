"""Lightning indexer: scores which compressed rows a query should read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dspark_models.training.compressor import Compressor
from dspark_models.training.rope import rotate
from dspark_models.training.shape import Shape


class Indexer(nn.Module):
    """Scores of all compressed rows for all queries, float weights.

    The Hadamard rotation of the release is orthogonal and only serves its FP4
    rows, so it is absent here.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.dim = shape.index_n_heads, shape.index_head_dim
        self.wq_b = nn.Linear(shape.q_lora_rank, self.heads * self.dim, bias=False)
        self.weights_proj = nn.Linear(shape.hidden_size, self.heads, bias=False)
        self.compressor = Compressor(shape.hidden_size, self.dim, 4, overlap=True, eps=shape.rms_norm_eps)

    def forward(self, x: Tensor, c_q: Tensor, cos: Tensor, sin: Tensor, freq: Tensor) -> Tensor:
        """Scores [B, S, C] from hidden rows [B, S, D] and low-rank queries [B, S, q]."""
        b, s, _ = x.shape
        q = self.wq_b(c_q).view(b, s, self.heads, self.dim)
        q = rotate(q, cos.unsqueeze(1), sin.unsqueeze(1))
        k = self.compressor(x, freq)
        a = self.weights_proj(x) * (self.dim * self.heads) ** -0.5
        dots = torch.matmul(q.reshape(b, s * self.heads, self.dim), k.transpose(1, 2))
        dots = dots.view(b, s, self.heads, -1).relu()
        scores: Tensor = (a.unsqueeze(-1) * dots).sum(2)
        return scores


def keep_top(scores: Tensor, visible: Tensor, count: int) -> Tensor:
    """Boolean [B, S, C]: the ``count`` best visible rows of each query."""
    if scores.shape[-1] <= count:
        return visible.expand_as(scores)
    hidden = scores.masked_fill(~visible, float("-inf"))
    best = hidden.topk(count, dim=-1).indices
    chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, best, True)
    return chosen & visible
