"""The trainable DeepSeek-V4 target."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from dspark_models.training.attention import TargetAttention
from dspark_models.training.block import Block, initialise
from dspark_models.training.hyper import HyperCollapse
from dspark_models.training.norm import RmsNorm
from dspark_models.training.rope import frequencies, table
from dspark_models.training.shape import Shape


class Target(nn.Module):
    """Whole-sequence forward of DeepSeek-V4 with float weights.

    Sequences start at position 0; padding belongs at the end, where no earlier
    position can see it.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        d = shape.hidden_size
        self.embed = nn.Embedding(shape.vocab_size, d)
        self.layers = nn.ModuleList(
            Block(shape, TargetAttention(shape, label), i < shape.num_hash_layers)
            for i, label in enumerate(shape.compress_ratios)
        )
        self.hc_head = HyperCollapse(d, shape.hc_mult, shape.hc_eps, shape.rms_norm_eps)
        self.norm = RmsNorm(d, shape.rms_norm_eps)
        self.head = nn.Linear(d, shape.vocab_size, bias=False)
        nn.init.normal_(self.embed.weight, 0, 0.3)
        nn.init.normal_(self.head.weight, 0, 0.02)
        for i, block in enumerate(self.layers):
            assert isinstance(block, Block)
            initialise(block, i)

    def states(self, ids: Tensor, select: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Token ids [B, S] to (collapsed hidden [B, S, D], taps: [B, S, D] per draft stage).

        A tap is the mean of the streams after one of the last layers.
        """
        shape = self.shape
        b, s = ids.shape
        positions = torch.arange(s, device=ids.device)
        ropes = {}
        for compressed in (False, True):
            freq = frequencies(shape, compressed).to(ids.device)
            ropes[compressed] = (*table(freq, positions), freq)
        x = self.embed(ids).unsqueeze(2).expand(-1, -1, shape.hc_mult, -1)
        taps = []
        for i, block in enumerate(self.layers):
            cos, sin, freq = ropes[shape.compress_ratios[i] != 0]
            assert isinstance(block, Block)
            x = block(x, ids, partial(block.attn, cos=cos, sin=sin, freq=freq, select=select))
            if i in shape.dspark_target_layer_ids:
                taps.append(x.mean(2))
        return self.hc_head(x.reshape(b * s, shape.hc_mult, -1)).view(b, s, -1), taps

    def logits(self, hidden: Tensor) -> Tensor:
        """Collapsed hidden [..., D] to logits [..., V]."""
        out: Tensor = self.head(self.norm(hidden))
        return out

    def forward(self, ids: Tensor, select: bool = False) -> Tensor:
        """Token ids [B, S] to logits [B, S, V]."""
        return self.logits(self.states(ids, select)[0])
