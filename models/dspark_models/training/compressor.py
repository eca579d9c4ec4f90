"""Pooling of past tokens into compressed latent rows, whole sequences at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dspark_models.training.norm import RmsNorm
from dspark_models.training.rope import rotate, table


class Compressor(nn.Module):
    """Gated per-channel pooling: overlapping windows of 8 (ratio 4) or blocks of ``ratio``."""

    def __init__(self, width: int, dim: int, ratio: int, overlap: bool, eps: float) -> None:
        super().__init__()
        self.dim, self.ratio, self.overlap = dim, ratio, overlap
        c = 2 if overlap else 1
        self.wkv = nn.Linear(width, c * dim, bias=False)
        self.wgate = nn.Linear(width, c * dim, bias=False)
        self.ape = nn.Parameter(torch.zeros(ratio, c * dim))
        self.norm = RmsNorm(dim, eps)

    def forward(self, x: Tensor, freq: Tensor) -> Tensor:
        """Hidden rows [B, S, D] to compressed rows [B, S // ratio, dim], rotated.

        Tokens of an unfinished last group are left out: no query can see them.
        """
        b, s, _ = x.shape
        r, d = self.ratio, self.dim
        n = s // r
        x = x[:, : n * r]
        u = self.wkv(x).view(b, n, r, -1)
        w = self.wgate(x).view(b, n, r, -1) + self.ape
        if self.overlap:
            # First half of the channels serves the next group, second half the own one.
            before_u = torch.cat((torch.zeros_like(u[:, :1, :, :d]), u[:, :-1, :, :d]), 1)
            hidden = torch.full_like(w[:, :1, :, :d], float("-inf"))
            before_w = torch.cat((hidden, w[:, :-1, :, :d]), 1)
            u = torch.cat((before_u, u[..., d:]), 2)
            w = torch.cat((before_w, w[..., d:]), 2)
        e = (torch.softmax(w.float(), 2).to(u.dtype) * u).sum(2)
        start = torch.arange(n, device=x.device) * r
        cos, sin = table(freq, start)
        return rotate(self.norm(e), cos, sin)
