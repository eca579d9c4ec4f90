"""Facts of a plain dense decoder (Qwen3, Gemma) from its config.json: parameter bytes and cache bytes a token.

Names follow config.json: grouped-query attention with per-head norms, a gated feed-forward block, RMS norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dspark_local.errors import CheckpointError
from dspark_local.plan.model_facts import DraftFacts, ModelFacts

VALUE_BYTES = 2
"""Weights and caches are 16-bit values."""
DRAFT_LAYERS, DRAFT_BLOCK_SIZE, DRAFT_MARKOV_RANK = 5, 7, 256
"""Of every released stand-alone DSpark draft."""


def decoder_facts(name: str, raw: Mapping[str, Any], weight_bytes: int | None = None) -> ModelFacts:
    """Facts of a dense decoder; weight_bytes, where the files' size is known, replaces the count of parameters.

    CheckpointError when a size is missing or the model has routed experts.
    """
    text = raw.get("text_config", raw)  # vision models keep their language model's sizes in there
    if any(text.get(field) for field in ("num_experts", "n_routed_experts", "num_local_experts")):
        raise CheckpointError(
            f"{name} has routed experts of a kind that the planner does not know.",
            hint="It plans for DeepSeek-V4 and for dense decoders such as Qwen3 and Gemma.",
        )
    hidden, layers = _size(name, text, "hidden_size"), _size(name, text, "num_hidden_layers")
    heads, width = _size(name, text, "num_attention_heads"), _size(name, text, "intermediate_size")
    kv_heads = int(text.get("num_key_value_heads") or heads)
    head_dim = int(text.get("head_dim") or hidden // heads)
    vocab = _size(name, text, "vocab_size")
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads) + 2 * head_dim
    block = attention + 3 * hidden * width + 2 * hidden
    table = vocab * hidden * VALUE_BYTES
    is_tied = bool(text.get("tie_word_embeddings", raw.get("tie_word_embeddings", False)))
    # A tied head is read in every pass, so the one table counts as the head.
    lookup = 0 if is_tied else table
    dense = (layers * block + hidden) * VALUE_BYTES
    if weight_bytes is not None:
        dense = max(weight_bytes - table - lookup, 0)
    row = 2 * kv_heads * head_dim * VALUE_BYTES
    full, window = _attention_kinds(text, layers)

    def caches(context: int) -> dict[str, int]:
        return {"kv": row * (full * context + (layers - full) * min(context, window))}

    return ModelFacts(
        name=name,
        layers=layers,
        dense_bytes=dense,
        dense_bits=16.0,
        head_bytes=table,
        lookup_bytes=lookup,
        experts=None,
        cache_bytes=caches,
        read_per_context_token=float(row * full),
        max_context=int(text.get("max_position_embeddings", 32768)),
    )


def with_separate_draft(target: ModelFacts, weight_bytes: int, vocab: int) -> ModelFacts:
    """A target with a DSpark draft of its own repository, which stores copies of the target's embedding and head."""
    markov = vocab * DRAFT_MARKOV_RANK * VALUE_BYTES
    copies = 2 * target.head_bytes
    row = target.cache_bytes(1)["kv"] // target.layers
    draft = DraftFacts(
        kind="separate",
        block_size=DRAFT_BLOCK_SIZE,
        passes=1,
        layers=DRAFT_LAYERS,
        dense_bytes=max(weight_bytes - copies - 2 * markov, 0),
        per_draft_bytes=markov,
        lookup_bytes=markov,
        experts=None,
        cache_bytes=lambda context: {"draft_context": row * DRAFT_LAYERS * context},
        unloaded_bytes=copies,
    )
    return replace(target, draft=draft)


def _attention_kinds(text: Mapping[str, Any], layers: int) -> tuple[int, int]:
    """(layers that see the whole context, window of the others)."""
    kinds = text.get("layer_types")
    window = int(text.get("sliding_window") or 0)
    if not isinstance(kinds, list) or not window:
        return layers, 0
    return sum(kind == "full_attention" for kind in kinds[:layers]), window


def _size(name: str, text: Mapping[str, Any], field: str) -> int:
    value = text.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(
            f"The config.json of {name} gives no {field}, so its size cannot be told.",
            hint="The planner knows DeepSeek-V4 and dense decoders such as Qwen3 and Gemma.",
        )
    return value
