"""The projections around V4's attention, shared by the target's layers and the draft's stages.

Names: N tokens, H heads, hd head_dim, g output groups. Source: DeepSeek-V4 technical report.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.rms_norm import rms_norm
from dspark_kernels.rope import Rotation, rotate
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.numerics import Numerics
from dspark_models.weights import ExpandedCache, Matrix


class AttentionProjections:
    """Low-rank queries, the single latent key-value head, and the grouped output projection of one block."""

    def __init__(
        self,
        config: DeepseekV4Config,
        checkpoint: Checkpoint,
        prefix: str,
        numerics: Numerics,
        device: torch.device,
        cache: ExpandedCache,
    ) -> None:
        self.config = config
        self.numerics = numerics
        self.sinks = checkpoint.get(f"{prefix}.attn_sink").to(device)
        self.q_norm = checkpoint.get(f"{prefix}.q_norm.weight").to(device)
        self.kv_norm = checkpoint.get(f"{prefix}.kv_norm.weight").to(device)
        self.wq_a, self.wq_b, self.wkv, self.wo_a, self.wo_b = (
            Matrix.load(checkpoint, f"{prefix}.{name}", device, cache)
            for name in ("wq_a", "wq_b", "wkv", "wo_a", "wo_b")
        )

    def latent_query(self, quantized: Tensor) -> Tensor:
        """x [N, D], rounded for FP8 linears -> c_q [N, q], rounded again: queries and the indexer both read it."""
        latent = rms_norm(self.wq_a(quantized), self.q_norm, self.config.rms_norm_eps)
        return self.numerics.quantize_activation(latent)

    def queries(self, latent: Tensor, rotation: Rotation) -> Tensor:
        """c_q [N, q] -> rotated queries [N, H, hd], each head normalised without a weight."""
        heads = self.wq_b(latent).unflatten(-1, (self.config.num_attention_heads, self.config.head_dim))
        return rotate(rms_norm(heads, None, self.config.rms_norm_eps), rotation)

    def latent_rows(self, quantized: Tensor, rotation: Rotation) -> Tensor:
        """x [N, D], rounded for FP8 linears -> rotated rows [N, hd] that are key and value of all heads."""
        return rotate(rms_norm(self.wkv(quantized), self.kv_norm, self.config.rms_norm_eps), rotation)

    def output(self, attended: Tensor, rotation: Rotation) -> Tensor:
        """attended [N, H, hd] -> [N, D]. The rotation is undone at the query's position, since values carry it too.

        The input of wo_a is not rounded to FP8 in the release, that of wo_b is.
        """
        config = self.config
        straight = rotate(attended, rotation, inverse=True)
        groups = straight.flatten(1).unflatten(-1, (config.o_groups, -1))
        wo_a = self.wo_a.expand(groups.dtype).unflatten(0, (config.o_groups, config.o_lora_rank))
        low_rank = torch.einsum("ngi,goi->ngo", groups, wo_a).flatten(1)
        return self.wo_b(self.numerics.quantize_activation(low_rank))
