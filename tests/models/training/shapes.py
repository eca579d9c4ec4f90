"""Small shapes for the training tests."""

from __future__ import annotations

from dspark_models.training.shape import Shape

TINY = Shape(
    vocab_size=96,
    hidden_size=128,
    num_attention_heads=2,
    n_routed_experts=4,
    index_n_heads=16,
    index_topk=3,
    sliding_window=8,
    compress_rate_hca=16,
    dspark_markov_rank=16,
)
