"""DeepSeek-V4's facts for a plan, from its config.json alone or from an opened checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dspark_local.errors import CheckpointError
from dspark_local.plan.model_facts import DraftFacts, Experts, ModelFacts

if TYPE_CHECKING:
    from dspark_models.checkpoint import Checkpoint
    from dspark_models.deepseek_v4.config import DeepseekV4Config
    from dspark_models.deepseek_v4.footprint import DraftKind, WeightFootprint
    from dspark_models.numerics import Numerics

KEPT_SEQUENCES = 2
"""Conversations that the native engine keeps caches for unless it is told otherwise."""


def planned_numerics(dtype: str, *, on_card: bool) -> Numerics:
    """How the engine computes with this --dtype on a card, present or not, or on a CPU. Raises ValueError."""
    import torch

    from dspark_models.numerics import Numerics

    # "auto" would ask the card of this computer, which is not the one that is planned for.
    name = "bfloat16" if dtype == "auto" and on_card else dtype
    return Numerics.for_dtype(name, torch.device("cpu"))


def v4_facts(name: str, raw: Mapping[str, Any], draft: DraftKind, numerics: Numerics) -> ModelFacts:
    """Facts of a release with this config.json; CheckpointError of dspark_models for one that is not V4's."""
    from dspark_models.deepseek_v4.config import DeepseekV4Config
    from dspark_models.deepseek_v4.footprint import DSPARK_STAGES, release_footprint

    config = DeepseekV4Config.parse(raw)
    footprint = release_footprint(config, draft, numerics)
    return _facts(name, config, footprint, draft, DSPARK_STAGES if draft == "dspark" else 1, numerics)


def checkpoint_facts(
    name: str, checkpoint: Checkpoint, numerics: Numerics, *, draft_from: Checkpoint | None = None
) -> ModelFacts:
    """Facts of an opened checkpoint, with the draft in it or in `draft_from`; the headers tell the bytes.

    Raises CheckpointError for one that lacks layers.
    """
    from dspark_models.deepseek_v4.config import DeepseekV4Config
    from dspark_models.deepseek_v4.footprint import checkpoint_footprint, draft_kind

    home = draft_from or checkpoint
    config = DeepseekV4Config.parse(home.config)
    kind, stages = draft_kind(home)
    drafts = checkpoint_footprint(home, numerics) if draft_from is not None else None
    footprint = checkpoint_footprint(checkpoint, numerics)
    wanted = ["embed", "head", *(f"layers.{layer}" for layer in range(config.num_hidden_layers))]
    missing = [unit for unit in wanted if unit not in {each.name for each in footprint.units}]
    if missing:
        raise CheckpointError(
            f"{name} is not whole: {len(missing)} of {len(wanted)} parts have no tensors, {missing[0]} first.",
            hint="The files are not all of one release of this model: download them again.",
        )
    return _facts(name, config, footprint, kind, stages, numerics, drafts)


def _facts(
    name: str,
    config: DeepseekV4Config,
    footprint: WeightFootprint,
    kind: DraftKind,
    stages: int,
    numerics: Numerics,
    draft_footprint: WeightFootprint | None = None,
) -> ModelFacts:
    from dspark_models.deepseek_v4.footprint import cache_bytes

    layers = footprint.layers
    values = 3 * config.hidden_size * config.moe_intermediate_size
    embed, head = footprint.unit("embed"), footprint.unit("head")

    def caches(context: int) -> dict[str, int]:
        return cache_bytes(config, numerics, context=context, sequences=1)

    return ModelFacts(
        name=name,
        layers=len(layers),
        dense_bytes=sum(layer.dense - layer.lookup for layer in layers),
        dense_bits=8.0 if config.quantized else 16.0,
        head_bytes=head.dense,
        lookup_bytes=embed.dense + sum(layer.lookup for layer in layers),
        experts=Experts(config.n_routed_experts, config.num_experts_per_tok, footprint.expert_bytes, values),
        cache_bytes=caches,
        read_per_context_token=_read_per_context_token(config, caches),
        max_context=config.max_position_embeddings,
        sequences=KEPT_SEQUENCES,
        draft=_draft(config, draft_footprint or footprint, kind, stages, numerics),
    )


def _read_per_context_token(config: DeepseekV4Config, caches: Any) -> float:
    """Index keys and the entries of the layers that see all of them; CSA layers pick a fixed number of entries."""
    span = 128 * 1024
    more, less = caches(2 * span), caches(span)
    index = (more["index"] - less["index"]) / span
    rows = (more["compressed"] - less["compressed"]) / span
    weights = {True: 0.0, False: 0.0}
    for layer in range(config.num_hidden_layers):
        if config.ratio(layer):
            weights[config.is_csa(layer)] += 1 / config.ratio(layer)
    seen = weights[False] / max(sum(weights.values()), 1e-9)
    return float(index + rows * seen)


def _draft(
    config: DeepseekV4Config, footprint: WeightFootprint, kind: DraftKind, stages: int, numerics: Numerics
) -> DraftFacts | None:
    from dspark_models.deepseek_v4.footprint import draft_cache_bytes
    from dspark_models.loading import MTP_BLOCK_SIZE

    if kind == "none":
        return None
    lookup = sum(stage.lookup for stage in footprint.stages)
    # The second half of a Markov head has the size of the first, and is read for every draft.
    dense = sum(stage.dense for stage in footprint.stages) - 2 * lookup
    block = config.dspark.block_size if kind == "dspark" and config.dspark else MTP_BLOCK_SIZE
    values = 3 * config.hidden_size * config.moe_intermediate_size
    return DraftFacts(
        kind="mtp" if kind == "mtp" else "dspark",
        block_size=block,
        passes=block if kind == "mtp" else 1,
        layers=stages,
        dense_bytes=dense,
        per_draft_bytes=lookup,
        lookup_bytes=lookup,
        experts=Experts(config.n_routed_experts, config.num_experts_per_tok, footprint.draft_expert_bytes, values),
        cache_bytes=lambda context: draft_cache_bytes(config, numerics, kind, sequences=1, stages=stages),
    )
