"""One stage of V4's draft: a window-only block whose keys are the target's projected states and the block itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dspark_kernels.rope import Rotation
from dspark_kernels.sparse_attention import sparse_attention
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.block import ResidualBlock
from dspark_models.deepseek_v4.cache import REWIND_SPAN, KVFormat
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.moe import MixtureOfExperts
from dspark_models.deepseek_v4.projections import AttentionProjections
from dspark_models.experts import ExpertStore
from dspark_models.numerics import Numerics
from dspark_models.rings import PositionRing
from dspark_models.weights import ExpandedCache


class DraftSpan(NamedTuple):
    """Rows begin..end of the flattened pass draft for `sequence`; the anchor is at `position`."""

    sequence: int
    position: int
    begin: int
    end: int


class DraftStage:
    """Weights and context rows of one stage."""

    def __init__(
        self,
        config: DeepseekV4Config,
        checkpoint: Checkpoint,
        stage: int,
        numerics: Numerics,
        device: torch.device,
        store: ExpertStore,
        expanded: ExpandedCache,
        max_sequences: int,
    ) -> None:
        prefix = f"mtp.{stage}"
        self.config = config
        self.numerics = numerics
        self.row_format = KVFormat(config.head_dim, config.qk_rope_head_dim, numerics)
        self.projections = AttentionProjections(config, checkpoint, f"{prefix}.attn", numerics, device, expanded)
        moe = MixtureOfExperts(config, checkpoint, prefix, store, numerics, device, expanded)
        self.block = ResidualBlock(config, checkpoint, prefix, moe, device)
        width, dtype = self.row_format.row
        self.context = PositionRing(max_sequences, config.sliding_window + REWIND_SPAN, (width,), dtype, device)

    def observe(self, sequence: int, position: int, quantized: Tensor, rotation: Rotation) -> None:
        """Projected target states [T, D], rounded for FP8 linears, become context rows at position..; no attn_norm."""
        rows = self.projections.latent_rows(quantized, rotation)
        self.context.store(sequence, position, self.row_format.pack(rows))

    def __call__(self, streams: Tensor, token_ids: Tensor, spans: list[DraftSpan], rotation: Rotation) -> Tensor:
        """streams [N, S, D] of all drafted slots -> [N, S, D]."""
        return self.block(streams, token_ids, lambda x: self._attend(x, spans, rotation))

    def _attend(self, x: Tensor, spans: list[DraftSpan], rotation: Rotation) -> Tensor:
        """Every slot sees the same last W context rows and all slots of its own block, in both directions."""
        quantized = self.numerics.quantize_activation(x)
        queries = self.projections.queries(self.projections.latent_query(quantized), rotation)
        rows = self.row_format.pack(self.projections.latent_rows(quantized, rotation))
        pieces = []
        for span in spans:
            own = slice(span.begin, span.end)
            context = self.context.span(span.sequence, span.position - self.config.sliding_window, span.position)
            keys = self.row_format.unpack(torch.cat([context.rows, rows[own]]))
            shared = keys.expand(span.end - span.begin, -1, -1)
            valid = torch.ones(shared.shape[:2], dtype=torch.bool, device=x.device)
            scale = self.config.head_dim**-0.5
            pieces.append(sparse_attention(queries[own], shared, valid, self.projections.sinks, scale))
        return self.projections.output(torch.cat(pieces), rotation)
