"""One attention layer of the target: a window, and compressed entries beyond it, under one softmax.

Three kinds, told apart by the layer's ratio: window only, compressed sparse (CSA, entries chosen by the indexer) and
heavily compressed (HCA, all entries). Source: DeepSeek-V4 technical report.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.sparse_attention import sparse_attention
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.batch import Batch, RopeTables, Span
from dspark_models.deepseek_v4.cache import KVFormat, LayerCache
from dspark_models.deepseek_v4.compression import Compressor
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.indexer import Indexer
from dspark_models.deepseek_v4.projections import AttentionProjections
from dspark_models.numerics import Numerics
from dspark_models.rings import RowSpan
from dspark_models.weights import ExpandedCache

GATHER_TILE_BYTES = 32 * 2**20


class Attention:
    """Projections, compressor and indexer of one layer. Works on all runs of a pass; caches come from outside."""

    def __init__(
        self,
        config: DeepseekV4Config,
        checkpoint: Checkpoint,
        layer: int,
        numerics: Numerics,
        device: torch.device,
        cache: ExpandedCache,
    ) -> None:
        prefix = f"layers.{layer}.attn"
        self.config = config
        self.numerics = numerics
        self.ratio = config.ratio(layer)
        self.row_format = KVFormat(config.head_dim, config.qk_rope_head_dim, numerics)
        self.projections = AttentionProjections(config, checkpoint, prefix, numerics, device, cache)
        self.indexer = (
            Indexer(config, checkpoint, f"{prefix}.indexer", numerics, device, cache) if config.is_csa(layer) else None
        )
        self.compressor = (
            Compressor(
                checkpoint,
                f"{prefix}.compressor",
                ratio=self.ratio,
                is_overlapping=config.is_csa(layer),
                row_format=self.row_format,
                eps=config.rms_norm_eps,
                dtype=numerics.dtype,
                device=device,
                cache=cache,
            )
            if self.ratio
            else None
        )

    def __call__(self, x: Tensor, batch: Batch, tables: RopeTables, cache: LayerCache) -> Tensor:
        """x [N, D], normed -> [N, D]. Appends every run to the cache before any query reads it."""
        rotation = batch.compressed if self.ratio else batch.plain
        quantized = self.numerics.quantize_activation(x)
        latent = self.projections.latent_query(quantized)
        queries = self.projections.queries(latent, rotation)
        rows = self.row_format.pack(self.projections.latent_rows(quantized, rotation))
        if self.compressor is not None and cache.compressor is not None:
            self.compressor.append(x, batch, tables.compressed, cache.compressor)
        if self.indexer is not None and cache.indexer is not None:
            self.indexer.compressor.append(x, batch, tables.compressed, cache.indexer)
        attended = torch.cat([self._attend(span, x, latent, queries, rows, batch, cache) for span in batch.spans])
        return self.projections.output(attended, rotation)

    def _attend(
        self, span: Span, x: Tensor, latent: Tensor, queries: Tensor, rows: Tensor, batch: Batch, cache: LayerCache
    ) -> Tensor:
        """Queries of one run over their windows and entries -> [T, H, hd]."""
        own = slice(span.begin, span.end)
        window = cache.window.extend(span.sequence, span.start, rows[own], self.config.sliding_window - 1)
        entries, entry_ids, entry_valid = self._entries(span, x, latent, batch, cache)
        positions = batch.positions[own]
        key_bytes = (self.config.sliding_window + entry_ids.shape[1]) * self.config.head_dim * 4
        tile = max(1, GATHER_TILE_BYTES // key_bytes)
        pieces = []
        for begin in range(0, span.end - span.begin, tile):
            part = slice(begin, begin + tile)
            window_rows, window_valid = self._window_rows(window, positions[part])
            stored = torch.cat([window_rows, entries[entry_ids[part]]], dim=1)
            pieces.append(
                sparse_attention(
                    queries[own][part],
                    self.row_format.unpack(stored),
                    torch.cat([window_valid, entry_valid[part]], dim=1),
                    self.projections.sinks,
                    self.config.head_dim**-0.5,
                )
            )
        return torch.cat(pieces)

    def _window_rows(self, window: RowSpan, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Stored rows [T, W, row] at positions p - W + 1 .. p of each query, and which of them exist."""
        offsets = torch.arange(1 - self.config.sliding_window, 1, device=positions.device)
        wanted = positions[:, None] + offsets
        return window.rows[(wanted - window.base).clamp_min(0)], wanted >= 0

    def _entries(
        self, span: Span, x: Tensor, latent: Tensor, batch: Batch, cache: LayerCache
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(stored entries [n, row], ids [T, K] of those that each query reads, valid [T, K])."""
        count = span.end - span.begin
        if cache.compressor is None:
            none = torch.zeros(count, 0, dtype=torch.int64, device=x.device)
            return cache.window.data[0, :0], none, none.bool()
        entries = cache.compressor.entries[span.sequence]
        if self.indexer is not None and cache.indexer is not None:
            return entries, *self.indexer.select(x, latent, batch, span, cache.indexer)
        ids = torch.arange(span.stop // self.ratio, device=x.device)
        visible = (batch.positions[span.begin : span.end] + 1) // self.ratio
        return entries, ids.expand(count, -1), ids < visible[:, None]
