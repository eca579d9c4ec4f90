"""Latent attention of DeepSeek-V4: one key-value row per token, sinks, window, compressed rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dspark_models.training.compressor import Compressor
from dspark_models.training.indexer import Indexer, keep_top
from dspark_models.training.norm import RmsNorm, rms
from dspark_models.training.rope import rotate
from dspark_models.training.shape import Shape


class LatentAttention(nn.Module):
    """The projections that every attention layer and every draft stage has."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, h, hd = shape.hidden_size, shape.num_attention_heads, shape.head_dim
        self.heads, self.head_dim, self.groups = h, hd, shape.o_groups
        self.eps = shape.rms_norm_eps
        self.attn_sink = nn.Parameter(torch.zeros(h))
        self.wq_a = nn.Linear(d, shape.q_lora_rank, bias=False)
        self.q_norm = RmsNorm(shape.q_lora_rank, self.eps)
        self.wq_b = nn.Linear(shape.q_lora_rank, h * hd, bias=False)
        self.wkv = nn.Linear(d, hd, bias=False)
        self.kv_norm = RmsNorm(hd, self.eps)
        grouped = shape.o_groups * shape.o_lora_rank
        self.wo_a = nn.Linear(h * hd // shape.o_groups, grouped, bias=False)
        self.wo_b = nn.Linear(grouped, d, bias=False)

    def low_rank(self, x: Tensor) -> Tensor:
        """Normalised low-rank query [..., q], shared with the indexer."""
        out: Tensor = self.q_norm(self.wq_a(x))
        return out

    def queries(self, c_q: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotated queries [B, S, H, head]; each head is normalised without a gain."""
        q = self.wq_b(c_q).unflatten(-1, (self.heads, self.head_dim))
        return rotate(rms(q, self.eps), cos.unsqueeze(-2), sin.unsqueeze(-2))

    def latent(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotated key-value rows [B, S, head]: key and value of all heads at once."""
        return rotate(self.kv_norm(self.wkv(x)), cos, sin)

    def attend(self, q: Tensor, kv: Tensor, bias: Tensor) -> Tensor:
        """Softmax attention with sinks.

        q [B, S, H, head], kv [B, N, head], bias [B or 1, S, N] (0 or -inf).
        The sink is one more key column without value, so it only enlarges the
        denominator. Returns [B, S, H, head].
        """
        b, s, h, hd = q.shape
        logits = torch.matmul(q.reshape(b, s * h, hd) * hd**-0.5, kv.transpose(1, 2))
        logits = logits.view(b, s, h, -1) + bias.unsqueeze(2).to(logits.dtype)
        sink = self.attn_sink.to(logits.dtype).view(1, 1, h, 1).expand(b, s, h, 1)
        p = torch.softmax(torch.cat((logits, sink), -1), -1)[..., :-1]
        return torch.matmul(p.reshape(b, s * h, -1), kv).view(b, s, h, hd)

    def project(self, o: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate back by the query position, then the grouped output projection."""
        b, s = o.shape[:2]
        o = rotate(o, cos.unsqueeze(-2), -sin.unsqueeze(-2))
        grouped = o.reshape(b * s, self.groups, -1).transpose(0, 1)
        weight = self.wo_a.weight.view(self.groups, -1, grouped.shape[-1])
        z = torch.bmm(grouped, weight.transpose(1, 2)).transpose(0, 1).reshape(b, s, -1)
        out: Tensor = self.wo_b(z)
        return out


class TargetAttention(LatentAttention):
    """Attention of a target layer over whole sequences that start at position 0."""

    def __init__(self, shape: Shape, label: int) -> None:
        super().__init__(shape)
        self.shape = shape
        self.ratio = shape.pool_ratio(label)
        self.has_indexer = label == 4
        if label:
            self.compressor = Compressor(shape.hidden_size, shape.head_dim, self.ratio, self.has_indexer, self.eps)
        if self.has_indexer:
            self.indexer = Indexer(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, freq: Tensor, select: bool) -> Tensor:
        """Hidden rows [B, S, D] to [B, S, D].

        With ``select`` the indexer picks ``index_topk`` rows; without it all
        visible rows are read, which is how the target is trained.
        """
        s = x.shape[1]
        c_q = self.low_rank(x)
        q = self.queries(c_q, cos, sin)
        kv = self.latent(x, cos, sin)
        seen = window_mask(s, self.shape.sliding_window, x.device).unsqueeze(0)
        if self.ratio and s >= self.ratio:
            visible = closed_mask(s, self.ratio, x.device).unsqueeze(0)
            if select and self.has_indexer:
                scores = self.indexer(x, c_q, cos, sin, freq)
                visible = keep_top(scores, visible, self.shape.index_topk)
            kv = torch.cat((kv, self.compressor(x, freq)), 1)
            seen = torch.cat((seen.expand(visible.shape[0], -1, -1), visible), -1)
        return self.project(self.attend(q, kv, mask_bias(seen)), cos, sin)


def window_mask(s: int, window: int, device: torch.device) -> Tensor:
    """Boolean [S, S]: the last ``window`` positions, the own one included."""
    p = torch.arange(s, device=device)
    gap = p[:, None] - p[None, :]
    return (gap >= 0) & (gap < window)


def closed_mask(s: int, ratio: int, device: torch.device) -> Tensor:
    """Boolean [S, S // ratio]: compressed rows whose group is complete at the query."""
    p = torch.arange(s, device=device)
    return torch.arange(s // ratio, device=device)[None, :] < ((p[:, None] + 1) // ratio)


def mask_bias(seen: Tensor) -> Tensor:
    """Additive form of a boolean mask."""
    return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, float("-inf"))
