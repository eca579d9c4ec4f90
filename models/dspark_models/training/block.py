"""One layer: attention and experts, each between a read and a write of the streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from dspark_models.training.attention import LatentAttention
from dspark_models.training.hyper import HyperMix, write_back
from dspark_models.training.moe import Moe
from dspark_models.training.norm import RmsNorm
from dspark_models.training.shape import Shape

A = TypeVar("A", bound=LatentAttention)


class Block(nn.Module):
    """A layer of the target or a stage of the draft, whatever its attention."""

    def __init__(self, shape: Shape, attn: LatentAttention, hashed: bool) -> None:
        super().__init__()
        d, n, eps = shape.hidden_size, shape.hc_mult, shape.rms_norm_eps
        self.attn = attn
        self.attn_norm = RmsNorm(d, eps)
        self.ffn = Moe(shape, hashed)
        self.ffn_norm = RmsNorm(d, eps)
        self.hc_attn = HyperMix(d, n, shape.hc_sinkhorn_iters, shape.hc_eps, eps)
        self.hc_ffn = HyperMix(d, n, shape.hc_sinkhorn_iters, shape.hc_eps, eps)

    def forward(self, x: Tensor, ids: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """Streams [B, S, n, D] to [B, S, n, D].

        ``attend`` maps the normalised input [B, S, D] to the attention output.
        """
        b, s, n, d = x.shape
        flat = x.reshape(b * s, n, d)
        y, post, comb = self.hc_attn(flat)
        f = attend(self.attn_norm(y).view(b, s, d))
        flat = write_back(f.reshape(b * s, d), flat, post, comb)
        y, post, comb = self.hc_ffn(flat)
        f = self.ffn(self.ffn_norm(y), ids.flatten())
        return write_back(f, flat, post, comb).view(b, s, n, d)


@torch.no_grad()
def initialise(block: Block, index: int) -> None:
    """Starting values that break the symmetry of the streams.

    Streams keep to themselves at first (identity), each sub-layer reads mostly
    one stream and writes to all; equal starts would leave four copies.
    """
    for j, mix in enumerate((block.hc_attn, block.hc_ffn)):
        n = mix.streams
        base = torch.full((n * (n + 2),), 0.0)
        base[:n] = -1.4
        base[(2 * index + j) % n] = 0.3
        base[n : 2 * n] = torch.randn(n) * 0.2
        base[2 * n :] = (torch.eye(n) * 4).flatten()
        mix.base.copy_(base)
    for name, p in block.attn.named_parameters():
        if p.dim() == 2 and not name.endswith("ape"):
            gain = 0.5 if name.startswith("wo_b") else 1.0
            p.normal_(0, gain * p.shape[1] ** -0.5)
    shared = block.ffn.shared_experts
    for linear, gain in ((shared.w1, 1.0), (shared.w3, 1.0), (shared.w2, 0.5)):
        linear.weight.normal_(0, gain * linear.weight.shape[1] ** -0.5)
