"""Dimensions of a trainable DeepSeek-V4 model and its DSpark draft.

The field names follow the published ``config.json``; :func:`official_config`
writes that file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """Every number that the forward pass depends on.

    The defaults are the demo pair: hidden and expert widths are multiples of
    128 (FP8 blocks and activation groups), a head is 64 plain and 64 rotated
    channels (one FP8 group of the latent row), index heads are a power of two
    wide (Hadamard).
    """

    vocab_size: int = 1280
    hidden_size: int = 256
    num_attention_heads: int = 4
    head_dim: int = 128
    qk_rope_head_dim: int = 64
    q_lora_rank: int = 128
    o_groups: int = 2
    o_lora_rank: int = 128
    moe_intermediate_size: int = 128
    n_routed_experts: int = 16
    num_experts_per_tok: int = 2
    num_hash_layers: int = 2
    routed_scaling_factor: float = 1.5
    swiglu_limit: float = 10.0
    sliding_window: int = 128
    compress_ratios: tuple[int, ...] = (0, 0, 4, 128, 4)
    compress_rate_hca: int = 128
    rope_theta: float = 10000.0
    compress_rope_theta: float = 160000.0
    yarn_factor: float = 16.0
    yarn_original_positions: int = 65536
    yarn_beta_fast: float = 32.0
    yarn_beta_slow: float = 1.0
    index_n_heads: int = 16
    index_head_dim: int = 128
    index_topk: int = 32
    hc_mult: int = 4
    hc_sinkhorn_iters: int = 20
    hc_eps: float = 1e-6
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    dspark_block_size: int = 5
    dspark_markov_rank: int = 64
    dspark_noise_token_id: int = 2
    dspark_stages: int = 3

    @property
    def num_hidden_layers(self) -> int:
        """Number of layers of the target."""
        return len(self.compress_ratios)

    @property
    def dspark_target_layer_ids(self) -> tuple[int, ...]:
        """The layers whose output the draft reads: the last ones, one per stage."""
        n = self.num_hidden_layers
        return tuple(range(n - self.dspark_stages, n))

    def pool_ratio(self, label: int) -> int:
        """Tokens per compressed row for a ``compress_ratios`` label (0, 4 or 128)."""
        return self.compress_rate_hca if label == 128 else label


def official_config(shape: Shape) -> dict[str, Any]:
    """The ``config.json`` of a checkpoint with these dimensions, draft included."""
    ratios = [*shape.compress_ratios, *([0] * shape.dspark_stages)]
    config: dict[str, Any] = {
        "architectures": ["DeepseekV4ForCausalLM"],
        "model_type": "deepseek_v4",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "moe_intermediate_size": shape.moe_intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": 1,
        "head_dim": shape.head_dim,
        "qk_rope_head_dim": shape.qk_rope_head_dim,
        "q_lora_rank": shape.q_lora_rank,
        "o_groups": shape.o_groups,
        "o_lora_rank": shape.o_lora_rank,
        "n_routed_experts": shape.n_routed_experts,
        "n_shared_experts": 1,
        "num_experts_per_tok": shape.num_experts_per_tok,
        "num_hash_layers": shape.num_hash_layers,
        "scoring_func": "sqrtsoftplus",
        "topk_method": "noaux_tc",
        "norm_topk_prob": True,
        "routed_scaling_factor": shape.routed_scaling_factor,
        "swiglu_limit": shape.swiglu_limit,
        "hidden_act": "silu",
        "sliding_window": shape.sliding_window,
        "compress_ratios": ratios,
        "compress_rope_theta": shape.compress_rope_theta,
        "rope_theta": shape.rope_theta,
        "rope_scaling": {
            "type": "yarn",
            "factor": shape.yarn_factor,
            "original_max_position_embeddings": shape.yarn_original_positions,
            "beta_fast": shape.yarn_beta_fast,
            "beta_slow": shape.yarn_beta_slow,
        },
        "index_n_heads": shape.index_n_heads,
        "index_head_dim": shape.index_head_dim,
        "index_topk": shape.index_topk,
        "hc_mult": shape.hc_mult,
        "hc_sinkhorn_iters": shape.hc_sinkhorn_iters,
        "hc_eps": shape.hc_eps,
        "rms_norm_eps": shape.rms_norm_eps,
        "max_position_embeddings": shape.max_position_embeddings,
        "num_nextn_predict_layers": 1,
        "n_mtp_layers": shape.dspark_stages,
        "dspark_block_size": shape.dspark_block_size,
        "dspark_markov_rank": shape.dspark_markov_rank,
        "dspark_noise_token_id": shape.dspark_noise_token_id,
        "dspark_target_layer_ids": list(shape.dspark_target_layer_ids),
        "expert_dtype": "fp4",
        "quantization_config": {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "scale_fmt": "ue8m0",
            "weight_block_size": [128, 128],
        },
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }
    if shape.compress_rate_hca != 128:
        config["compress_rate_hca"] = shape.compress_rate_hca
    return config
