"""The DSpark draft in its training form: many blocks of a sequence at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dspark_models.training.attention import LatentAttention
from dspark_models.training.block import Block, initialise
from dspark_models.training.hyper import HyperCollapse
from dspark_models.training.norm import RmsNorm
from dspark_models.training.rope import frequencies, table
from dspark_models.training.shape import Shape


class MarkovHead(nn.Module):
    """Low-rank bigram bias: ``markov_w2 @ markov_w1[previous token]``."""

    def __init__(self, vocab: int, rank: int) -> None:
        super().__init__()
        self.markov_w1 = nn.Embedding(vocab, rank)
        self.markov_w2 = nn.Linear(rank, vocab, bias=False)
        nn.init.normal_(self.markov_w1.weight, 0, 0.3)
        nn.init.normal_(self.markov_w2.weight, 0, 0.01)


class ConfidenceHead(nn.Module):
    """Acceptance logit from the hidden state and the Markov embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.proj.weight)


class Stage(Block):
    """One draft stage; the first and the last carry the extra parts of the module."""

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__(shape, LatentAttention(shape), hashed=False)
        d, eps = shape.hidden_size, shape.rms_norm_eps
        if index == 0:
            taps = len(shape.dspark_target_layer_ids)
            self.main_proj = nn.Linear(taps * d, d, bias=False)
            self.main_norm = RmsNorm(d, eps)
        if index == shape.dspark_stages - 1:
            self.norm = RmsNorm(d, eps)
            self.hc_head = HyperCollapse(d, shape.hc_mult, shape.hc_eps, eps)
            self.markov_head = MarkovHead(shape.vocab_size, shape.dspark_markov_rank)
            self.confidence_head = ConfidenceHead(d + shape.dspark_markov_rank)
        initialise(self, index)


class Drafted(NamedTuple):
    """Hidden states of the slots and what the heads make of them, for N blocks of G slots."""

    hidden: Tensor  # [N, G, D], before the final norm
    base: Tensor  # [N, G, V], logits without the Markov bias


class Draft(nn.Module):
    """Three stages that read the target's taps and fill blocks of noise tokens."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.mtp = nn.ModuleList(Stage(shape, i) for i in range(shape.dspark_stages))

    @property
    def first(self) -> Stage:
        """The stage that holds the projection of the taps."""
        stage = self.mtp[0]
        assert isinstance(stage, Stage)
        return stage

    @property
    def last(self) -> Stage:
        """The stage that holds the heads."""
        stage = self.mtp[-1]
        assert isinstance(stage, Stage)
        return stage

    def forward(
        self,
        embed: nn.Embedding,
        head: nn.Linear,
        taps: Tensor,
        anchors: Tensor,
        tokens: Tensor,
    ) -> Drafted:
        """Draft one block behind each anchor.

        taps [B, S, stages * D] of the target; anchors [B, A] are positions P of
        tokens [B, A] that the target has not read: a block sees the taps of
        positions P - window .. P - 1 and itself, in both directions. The N of
        the result is B * A. Embedding and output head are the target's.
        """
        shape = self.shape
        b, s = taps.shape[:2]
        a, g = anchors.shape[1], shape.dspark_block_size
        freq = frequencies(shape, compressed=False).to(taps.device)
        past = torch.arange(s, device=taps.device)
        past_cos, past_sin = table(freq, past)
        slots = anchors.unsqueeze(-1) + torch.arange(g, device=taps.device)
        cos, sin = (t.view(b * a, g, -1) for t in table(freq, slots.flatten()))
        gap = anchors.unsqueeze(-1) - past
        bias = torch.zeros(gap.shape, device=taps.device)
        bias.masked_fill_((gap < 1) | (gap > shape.sliding_window), float("-inf"))

        main = self.first.main_norm(self.first.main_proj(taps))
        ids = torch.full((b * a, g), shape.dspark_noise_token_id, device=taps.device)
        ids[:, 0] = tokens.flatten()
        x = embed(ids).unsqueeze(2).expand(-1, -1, shape.hc_mult, -1)
        for stage in self.mtp:
            assert isinstance(stage, Stage)
            attn = stage.attn
            context = attn.latent(main, past_cos, past_sin)

            def attend(y: Tensor, attn: LatentAttention = attn, context: Tensor = context) -> Tensor:
                q = attn.queries(attn.low_rank(y), cos, sin)
                o = block_attention(attn, q, context, attn.latent(y, cos, sin), bias)
                return attn.project(o, cos, sin)

            x = stage(x, ids, attend)
        hidden = self.last.hc_head(x.reshape(b * a * g, shape.hc_mult, -1)).view(b * a, g, -1)
        return Drafted(hidden, head(self.last.norm(hidden)))

    def markov(self, previous: Tensor) -> tuple[Tensor, Tensor]:
        """(embedding [..., rank], logit bias [..., V]) for the preceding tokens."""
        embedding = self.last.markov_head.markov_w1(previous)
        return embedding, self.last.markov_head.markov_w2(embedding)

    def confidence(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Acceptance logits [...] from hidden [..., D] and Markov embedding [..., rank]."""
        out: Tensor = self.last.confidence_head.proj(torch.cat((hidden, embedding), -1))
        return out.squeeze(-1)


def block_attention(attn: LatentAttention, q: Tensor, context: Tensor, own: Tensor, bias: Tensor) -> Tensor:
    """Joint softmax over the context of a sequence and the rows of the own block.

    q [B*A, G, H, head], context [B, S, head], own [B*A, G, head], bias [B, A, S].
    """
    b, a, s = bias.shape
    n, g, h, hd = q.shape
    q = q * hd**-0.5
    far = torch.matmul(q.reshape(b, a * g * h, hd), context.transpose(1, 2))
    far = far.view(b, a, g * h, s) + bias.unsqueeze(2)
    near = torch.matmul(q.reshape(n, g * h, hd), own.transpose(1, 2))
    sink = attn.attn_sink.view(1, 1, h, 1).expand(n, g, h, 1).reshape(n, g * h, 1)
    p = torch.softmax(torch.cat((far.view(n, g * h, s), near, sink.to(far.dtype)), -1), -1)
    o = torch.matmul(p[..., :s].reshape(b, a * g * h, s), context).view(n, g * h, hd)
    o = o + torch.matmul(p[..., s : s + g], own)
    return o.view(n, g, h, hd)
