"""DeepSeek-V4 and its DSpark draft by direct definition, in float64: whole sequences, no caches, nothing clever.

The release's rounding steps can be switched on one by one; then only those steps round, all else stays float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.models.formats import hadamard, round_groups_e2m1, round_groups_e4m3


class Rounding(NamedTuple):
    """Which of the release's steps to apply.

    activations: e4m3 in groups of 128 before FP8 and FP4 linears; kv: e4m3 in groups of 64 outside the rope part,
    bfloat16 inside it; index_keys: Hadamard and e2m1 in groups of 32 for index queries and keys.
    """

    activations: bool = False
    kv: bool = False
    index_keys: bool = False


EXACT = Rounding()
RELEASE = Rounding(activations=True, kv=True, index_keys=True)


class TargetRun(NamedTuple):
    """logits [T, V]; taps [T, F], the stream means after the tapped layers side by side.

    mtp_taps [T, (S + 1) * D]: the streams after the last layer and the embedding, side by side.
    """

    logits: Tensor
    taps: Tensor
    mtp_taps: Tensor


class DraftRun(NamedTuple):
    """base and chained logits [K, V], confidences [K]."""

    base: Tensor
    logits: Tensor
    confidences: Tensor


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    normed = x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)
    return normed if weight is None else normed * weight


def rope_table(config: dict[str, Any], *, compressed: bool) -> Tensor:
    """[rope_dim / 2] angles per position."""
    dim = int(config["qk_rope_head_dim"])
    base = float(config["compress_rope_theta"] if compressed else config["rope_theta"])
    table = []
    for i in range(dim // 2):
        frequency = base ** (-2 * i / dim)
        if compressed:
            scaling = config["rope_scaling"]
            original = scaling["original_max_position_embeddings"]

            def index_at(turns: float, original: float = original) -> float:
                return dim * math.log(original / (2 * math.pi * turns)) / (2 * math.log(base))

            low = max(math.floor(index_at(scaling["beta_fast"])), 0)
            high = min(math.ceil(index_at(scaling["beta_slow"])), dim - 1)
            ramp = min(max((i - low) / (high - low), 0.0), 1.0)
            frequency = frequency * (1.0 - ramp) + frequency / scaling["factor"] * ramp
        table.append(frequency)
    return torch.tensor(table, dtype=torch.float64)


def rope(x: Tensor, positions: Tensor, table: Tensor, *, sign: float = 1.0) -> Tensor:
    """Turn the last pairs (2i, 2i + 1) of x [T, ..., D] by sign * position * table."""
    angles = sign * positions.double()[:, None] * table
    while angles.dim() < x.dim():
        angles = angles[:, None]
    out = x.clone()
    start = x.shape[-1] - 2 * table.shape[0]
    even, odd = x[..., start::2], x[..., start + 1 :: 2]
    out[..., start::2] = even * angles.cos() - odd * angles.sin()
    out[..., start + 1 :: 2] = even * angles.sin() + odd * angles.cos()
    return out


def _by_numpy(x: Tensor, function: Any, *arguments: int) -> Tensor:
    return torch.from_numpy(function(x.double().numpy(), *arguments))


class Float64Oracle:
    """weights: official names, dequantised float64."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Tensor], rounding: Rounding = EXACT) -> None:
        self.config = config
        self.weights = weights
        self.rounding = rounding
        self.eps = float(config["rms_norm_eps"])

    # --- pieces -----------------------------------------------------------------------------------------------

    def linear(self, name: str, x: Tensor, *, rounded: bool = True) -> Tensor:
        """rounded: the weight is FP8 or FP4 and its input goes through e4m3 in the release."""
        if rounded and self.rounding.activations:
            x = _by_numpy(x, round_groups_e4m3, 128)
        return x @ self.weights[f"{name}.weight"].T

    def norm(self, name: str, x: Tensor) -> Tensor:
        return rms_norm(x, self.weights[f"{name}.weight"], self.eps)

    def latent(self, rows: Tensor) -> Tensor:
        """KV rows as they are stored."""
        if not self.rounding.kv:
            return rows
        nope = rows.shape[-1] - self.config["qk_rope_head_dim"]
        inside = rows[..., nope:].to(torch.bfloat16).double()
        return torch.cat([_by_numpy(rows[..., :nope], round_groups_e4m3, 64), inside], -1)

    def index_vector(self, x: Tensor) -> Tensor:
        if not self.rounding.index_keys:
            return x
        return _by_numpy(x @ torch.from_numpy(hadamard(x.shape[-1])), round_groups_e2m1)

    def mixing(self, prefix: str, streams: Tensor) -> Tensor:
        flat = streams.flatten(1)
        return (flat @ self.weights[f"{prefix}_fn"].T) / torch.sqrt((flat * flat).mean(-1, keepdim=True) + self.eps)

    def hc_pre(self, prefix: str, streams: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, eps = self.config["hc_mult"], float(self.config["hc_eps"])
        m = self.mixing(prefix, streams)
        scale, base = self.weights[f"{prefix}_scale"], self.weights[f"{prefix}_base"]
        pre = torch.sigmoid(m[:, :n] * scale[0] + base[:n]) + eps
        post = 2 * torch.sigmoid(m[:, n : 2 * n] * scale[1] + base[n : 2 * n])
        a = (m[:, 2 * n :] * scale[2] + base[2 * n :]).reshape(-1, n, n)
        c = torch.softmax(a, dim=2) + eps
        c = c / (c.sum(1, keepdim=True) + eps)
        for _ in range(self.config["hc_sinkhorn_iters"] - 1):
            c = c / (c.sum(2, keepdim=True) + eps)
            c = c / (c.sum(1, keepdim=True) + eps)
        y = (pre[:, :, None] * streams).sum(1)
        return y, post, c

    @staticmethod
    def hc_post(output: Tensor, streams: Tensor, post: Tensor, c: Tensor) -> Tensor:
        new = torch.empty_like(streams)
        for k in range(streams.shape[1]):
            new[:, k] = post[:, k, None] * output + sum(c[:, j, k, None] * streams[:, j] for j in range(c.shape[1]))
        return new

    def collapse(self, prefix: str, streams: Tensor) -> Tensor:
        m = self.mixing(prefix, streams)
        w = torch.sigmoid(m * self.weights[f"{prefix}_scale"][0] + self.weights[f"{prefix}_base"])
        return ((w + float(self.config["hc_eps"]))[:, :, None] * streams).sum(1)

    # --- attention --------------------------------------------------------------------------------------------

    def compress(self, prefix: str, x: Tensor, ratio: int, overlap: bool, table: Tensor) -> Tensor:
        """x [T, D] -> the entries of all complete groups, one by one, roped at their first token."""
        u = self.linear(f"{prefix}wkv", x, rounded=False)
        w = self.linear(f"{prefix}wgate", x, rounded=False)
        ape = self.weights[f"{prefix}ape"]
        w = w + ape[torch.arange(x.shape[0]) % ratio]
        dim = u.shape[1] // (2 if overlap else 1)
        entries = []
        for j in range(x.shape[0] // ratio):
            own = slice(j * ratio, (j + 1) * ratio)
            if overlap:
                values, scores = [u[own, dim:]], [w[own, dim:]]
                if j > 0:
                    before = slice((j - 1) * ratio, j * ratio)
                    values.append(u[before, :dim])
                    scores.append(w[before, :dim])
                value, score = torch.cat(values), torch.cat(scores)
            else:
                value, score = u[own], w[own]
            entries.append((torch.softmax(score, dim=0) * value).sum(0))
        if not entries:
            return torch.zeros(0, dim, dtype=torch.float64)
        pooled = self.norm(f"{prefix}norm", torch.stack(entries))
        return rope(pooled, torch.arange(len(entries)) * ratio, table)

    def chosen_entries(self, prefix: str, x: Tensor, c_q: Tensor, table: Tensor, visible: Tensor) -> Tensor:
        """visible [T, G] -> the part of it that the lightning indexer keeps."""
        heads, dim, topk = self.config["index_n_heads"], self.config["index_head_dim"], self.config["index_topk"]
        positions = torch.arange(x.shape[0])
        q = self.linear(f"{prefix}wq_b", c_q).reshape(-1, heads, dim)
        q = self.index_vector(rope(q, positions, table))
        k = self.index_vector(self.compress(f"{prefix}compressor.", x, 4, True, table))
        a = self.linear(f"{prefix}weights_proj", x, rounded=False) * dim**-0.5 * heads**-0.5
        score = (torch.relu(torch.einsum("thd,gd->thg", q, k)) * a[:, :, None]).sum(1)
        kept = torch.zeros_like(visible)
        for t in range(x.shape[0]):
            seen = torch.nonzero(visible[t])[:, 0]
            kept[t, seen[torch.topk(score[t, seen], min(topk, len(seen))).indices]] = True
        return kept

    def attend(self, prefix: str, q: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        """q [T, H, D], keys [N, D] being values too, allowed [T, N] -> [T, H, D]; sinks in the denominator."""
        sink = self.weights[f"{prefix}attn_sink"]
        logits = torch.einsum("thd,nd->thn", q, keys) * self.config["head_dim"] ** -0.5
        logits = logits.masked_fill(~allowed[:, None, :], -torch.inf)
        with_sink = torch.cat([logits, sink[None, :, None].expand(q.shape[0], -1, 1)], dim=-1)
        return torch.softmax(with_sink, dim=-1)[..., :-1] @ keys

    def queries(self, prefix: str, x: Tensor, positions: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        c_q = self.norm(f"{prefix}q_norm", self.linear(f"{prefix}wq_a", x))
        q = self.linear(f"{prefix}wq_b", c_q).reshape(x.shape[0], -1, self.config["head_dim"])
        return c_q, rope(rms_norm(q, None, self.eps), positions, table)

    def keys(self, prefix: str, x: Tensor, positions: Tensor, table: Tensor) -> Tensor:
        return self.latent(rope(self.norm(f"{prefix}kv_norm", self.linear(f"{prefix}wkv", x)), positions, table))

    def project_out(self, prefix: str, o: Tensor, positions: Tensor, table: Tensor) -> Tensor:
        groups, rank = self.config["o_groups"], self.config["o_lora_rank"]
        flat = rope(o, positions, table, sign=-1.0).reshape(o.shape[0], groups, -1)
        wo_a = self.weights[f"{prefix}wo_a.weight"]
        z = [flat[:, g] @ wo_a[g * rank : (g + 1) * rank].T for g in range(groups)]
        return self.linear(f"{prefix}wo_b", torch.cat(z, dim=-1))

    def attention(self, layer: int, x: Tensor) -> Tensor:
        prefix, label = f"layers.{layer}.attn.", self.config["compress_ratios"][layer]
        ratio = self.config.get("compress_rate_hca", 128) if label == 128 else label
        table = rope_table(self.config, compressed=label != 0)
        t = torch.arange(x.shape[0])
        c_q, q = self.queries(prefix, x, t, table)
        keys = self.keys(prefix, x, t, table)
        distance = t[:, None] - t[None, :]
        allowed = (distance >= 0) & (distance < self.config["sliding_window"])
        if label:
            entries = self.latent(self.compress(f"{prefix}compressor.", x, ratio, label == 4, table))
            visible = torch.arange(entries.shape[0])[None, :] < ((t + 1) // ratio)[:, None]
            if label == 4:
                visible = self.chosen_entries(f"{prefix}indexer.", x, c_q, table, visible)
            keys, allowed = torch.cat([keys, entries]), torch.cat([allowed, visible], dim=1)
        return self.project_out(prefix, self.attend(prefix, q, keys, allowed), t, table)

    # --- mixture of experts -----------------------------------------------------------------------------------

    def expert(self, prefix: str, x: Tensor, weight: Tensor | None = None) -> Tensor:
        limit = float(self.config["swiglu_limit"])
        a = self.linear(f"{prefix}.w1", x).clamp(max=limit)
        b = self.linear(f"{prefix}.w3", x).clamp(-limit, limit)
        hidden = a * torch.sigmoid(a) * b
        return self.linear(f"{prefix}.w2", hidden if weight is None else hidden * weight[:, None])

    def moe(self, prefix: str, x: Tensor, token_ids: Tensor) -> Tensor:
        score = torch.sqrt(torch.log1p(torch.exp(self.linear(f"{prefix}gate", x, rounded=False))))
        table = self.weights.get(f"{prefix}gate.tid2eid")
        if table is not None:
            chosen = table[token_ids]
        else:
            biased = score + self.weights[f"{prefix}gate.bias"]
            chosen = torch.topk(biased, self.config["num_experts_per_tok"]).indices
        picked = score.gather(1, chosen)
        weight = picked / picked.sum(1, keepdim=True) * float(self.config["routed_scaling_factor"])
        out = self.expert(f"{prefix}shared_experts", x)
        for e in range(self.config["n_routed_experts"]):
            rows, slots = torch.nonzero(chosen == e, as_tuple=True)
            if len(rows):
                out.index_add_(0, rows, self.expert(f"{prefix}experts.{e}", x[rows], weight[rows, slots]))
        return out

    # --- the whole --------------------------------------------------------------------------------------------

    def target(self, token_ids: Tensor) -> TargetRun:
        """token_ids [T] -> logits of every position and the taps (empty without dspark_target_layer_ids)."""
        embedded = self.weights["embed.weight"][token_ids]
        streams = embedded[:, None].repeat(1, self.config["hc_mult"], 1)
        after = []
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"layers.{layer}."
            y, post, c = self.hc_pre(f"{prefix}hc_attn", streams)
            streams = self.hc_post(self.attention(layer, self.norm(f"{prefix}attn_norm", y)), streams, post, c)
            y, post, c = self.hc_pre(f"{prefix}hc_ffn", streams)
            f = self.moe(f"{prefix}ffn.", self.norm(f"{prefix}ffn_norm", y), token_ids)
            streams = self.hc_post(f, streams, post, c)
            after.append(streams.mean(1))
        h = self.collapse("hc_head", streams)
        taps = [after[layer] for layer in self.config.get("dspark_target_layer_ids", [])]
        logits = self.norm("norm", h) @ self.weights["head.weight"].T
        mtp_taps = torch.cat([streams.flatten(1), embedded], -1)
        return TargetRun(logits, torch.cat(taps, -1) if taps else logits[:, :0], mtp_taps)

    def draft(self, taps: Tensor, anchor: int, previous: Sequence[int]) -> DraftRun:
        """taps [P, F] of the text before the anchor at position P; previous: the ids drafted in slots 0..K-2.

        Without a Markov head the chained logits are the base ones, without a confidence head their peak stands in.
        """
        block, noise = len(previous) + 1, self.config["dspark_noise_token_id"]
        stages = len(self.config["compress_ratios"]) - self.config["num_hidden_layers"]
        last = f"mtp.{stages - 1}."
        start, window = taps.shape[0], min(self.config["sliding_window"], taps.shape[0])
        context = torch.arange(start - window, start)
        slots = torch.arange(start, start + block)
        table = rope_table(self.config, compressed=False)
        main = self.norm("mtp.0.main_norm", self.linear("mtp.0.main_proj", taps[start - window :]))
        ids = torch.tensor([anchor, *[noise] * (block - 1)])
        streams = self.weights["embed.weight"][ids][:, None].repeat(1, self.config["hc_mult"], 1)
        for stage in range(stages):
            prefix = f"mtp.{stage}."
            attn = f"{prefix}attn."
            y, post, c = self.hc_pre(f"{prefix}hc_attn", streams)
            x = self.norm(f"{prefix}attn_norm", y)
            _, q = self.queries(attn, x, slots, table)
            keys = torch.cat([self.keys(attn, main, context, table), self.keys(attn, x, slots, table)])
            everything = torch.ones(block, keys.shape[0], dtype=torch.bool)
            out = self.project_out(attn, self.attend(attn, q, keys, everything), slots, table)
            streams = self.hc_post(out, streams, post, c)
            y, post, c = self.hc_pre(f"{prefix}hc_ffn", streams)
            f = self.moe(f"{prefix}ffn.", self.norm(f"{prefix}ffn_norm", y), ids)
            streams = self.hc_post(f, streams, post, c)
        h = self.collapse(f"{last}hc_head", streams)
        base = self.norm(f"{last}norm", h) @ self.weights["head.weight"].T
        logits, features = base, h
        if f"{last}markov_head.markov_w1.weight" in self.weights:
            w1 = self.weights[f"{last}markov_head.markov_w1.weight"][torch.tensor([anchor, *previous])]
            logits = base + w1 @ self.weights[f"{last}markov_head.markov_w2.weight"].T
            features = torch.cat([h, w1], -1)
        proj = self.weights.get(f"{last}confidence_head.proj.weight")
        confidences = peaks(logits) if proj is None else torch.sigmoid(features @ proj[0])
        return DraftRun(base, logits, confidences)

    def mtp(self, taps: Tensor, anchor: int, previous: Sequence[int]) -> DraftRun:
        """taps [P, (S + 1) * D] of the text before the anchor; previous: the ids drafted in slots 0..K-2.

        Row p reads the streams at p and the token at p + 1; rows after the text read the module's own last streams.
        """
        prefix, dim, window = "mtp.0.", self.config["hidden_size"], self.config["sliding_window"]
        states = taps[:, :-dim].unflatten(-1, (-1, dim))
        tokens = torch.cat([taps[1:, -dim:], self.weights["embed.weight"][[anchor]]])
        table = rope_table(self.config, compressed=False)
        logits = []
        for drafted in [*previous, None]:
            e = self.linear(f"{prefix}e_proj", self.norm(f"{prefix}enorm", tokens))
            z = e[:, None] + self.linear(f"{prefix}h_proj", self.norm(f"{prefix}hnorm", states))
            t = torch.arange(z.shape[0])
            y, post, c = self.hc_pre(f"{prefix}hc_attn", z)
            x = self.norm(f"{prefix}attn_norm", y)
            _, q = self.queries(f"{prefix}attn.", x, t, table)
            distance = t[:, None] - t[None, :]
            allowed = (distance >= 0) & (distance < window)
            seen = self.attend(f"{prefix}attn.", q, self.keys(f"{prefix}attn.", x, t, table), allowed)
            # Only the newest row is read from here on.
            new = self.hc_post(self.project_out(f"{prefix}attn.", seen, t, table), z, post, c)[-1:]
            y, post, c = self.hc_pre(f"{prefix}hc_ffn", new)
            ids = torch.zeros(1, dtype=torch.int64)
            new = self.hc_post(self.moe(f"{prefix}ffn.", self.norm(f"{prefix}ffn_norm", y), ids), new, post, c)
            h = self.norm(f"{prefix}norm", self.collapse(f"{prefix}hc_head", new))
            logits.append(h @ self.weights["head.weight"].T)
            states = torch.cat([states, new])
            if drafted is not None:
                tokens = torch.cat([tokens, self.weights["embed.weight"][[drafted]]])
        chained = torch.cat(logits)
        return DraftRun(chained, chained, peaks(chained))


def peaks(logits: Tensor) -> Tensor:
    """logits [K, V] -> the largest probability of each row, [K]."""
    return torch.softmax(logits, dim=-1).amax(-1)
