"""Tiny configurations in the official flavour. Each covers what the others cannot."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

_COMMON: Config = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "model_type": "deepseek_v4",
    "vocab_size": 512,
    "hidden_size": 128,
    "moe_intermediate_size": 128,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "qk_rope_head_dim": 16,
    "q_lora_rank": 128,
    "o_groups": 2,
    "o_lora_rank": 64,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "num_hash_layers": 2,
    "scoring_func": "sqrtsoftplus",
    "topk_method": "noaux_tc",
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.5,
    "swiglu_limit": 0.5,  # low enough to bite on random weights
    "hidden_act": "silu",
    "sliding_window": 8,
    "compress_rope_theta": 160000,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 16,
        "original_max_position_embeddings": 65536,
        "beta_fast": 32,
        "beta_slow": 1,
    },
    "index_n_heads": 16,  # fewer give exact ties
    "index_head_dim": 32,
    "index_topk": 6,
    "hc_mult": 4,
    "hc_sinkhorn_iters": 20,
    "hc_eps": 1e-6,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 1048576,
    "num_nextn_predict_layers": 1,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "expert_dtype": "fp4",
    "quantization_config": {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "scale_fmt": "ue8m0",
        "weight_block_size": [128, 128],
    },
}


def _config(**changes: Any) -> Config:
    config = {**_COMMON, **changes}
    config["num_hidden_layers"] = len(config["compress_ratios"])
    return config


FLASH = _config(compress_ratios=[0, 0, 4, 128, 4], compress_rate_hca=16)
"""Flash's order of layer kinds; short window and short HCA groups, so that everything happens within 60 tokens."""

FLASH_ODD = _config(
    compress_ratios=[0, 0, 4, 128],
    hidden_size=160,
    moe_intermediate_size=96,
    q_lora_rank=96,
    o_lora_rank=40,
    num_attention_heads=6,
    o_groups=3,
    index_topk=24,
    sliding_window=128,
    vocab_size=331,
)
"""Nothing is a multiple of 128, the real window and the real HCA ratio: needs several hundred tokens."""

PRO = _config(
    compress_ratios=[128, 128, 4, 128, 4],
    compress_rate_hca=16,
    num_hash_layers=3,
    o_groups=4,
    n_routed_experts=12,
    num_experts_per_tok=3,
    routed_scaling_factor=2.5,
    index_topk=10,
    sliding_window=16,
)
"""Pro's order: no layer with the window alone, hash routing in HCA layers and in a CSA layer."""

RELEASE = _config(
    compress_ratios=[0, 4, 128],
    num_hash_layers=1,
    hidden_size=256,
    moe_intermediate_size=128,
    head_dim=128,
    qk_rope_head_dim=64,
    q_lora_rank=128,
    o_lora_rank=128,
    num_attention_heads=4,
    index_head_dim=128,
    index_topk=16,
    sliding_window=32,
    compress_rate_hca=16,
)
"""Dimensions that the storage formats of the release allow: FP8 groups of 64 outside the rope part, FP4 of 32."""

RELEASE_ROWS = {**RELEASE, "head_dim": 512, "num_attention_heads": 2}
"""The release's own row sizes: 448 + 64 dimensions of latent, 128 of index key."""
