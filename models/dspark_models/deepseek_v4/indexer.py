"""The lightning indexer of a CSA layer: picks the compressed entries that each query attends to."""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.index_scores import index_scores
from dspark_kernels.rope import rotate
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.batch import Batch, Span
from dspark_models.deepseek_v4.cache import CompressorCache, IndexFormat
from dspark_models.deepseek_v4.compression import Compressor
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.numerics import Numerics
from dspark_models.weights import ExpandedCache, Matrix

SCORE_TILE_BYTES = 32 * 2**20


class Indexer:
    """Index queries, their head weights, and the compressor of the index keys."""

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
        self.row_format = IndexFormat(config.index_head_dim, numerics)
        self.wq_b = Matrix.load(checkpoint, f"{prefix}.wq_b", device, cache)
        self.weights_proj = Matrix.load(checkpoint, f"{prefix}.weights_proj", device, cache)
        self.compressor = Compressor(
            checkpoint,
            f"{prefix}.compressor",
            ratio=config.csa_ratio,
            is_overlapping=True,
            row_format=self.row_format,
            eps=config.rms_norm_eps,
            dtype=numerics.dtype,
            device=device,
            cache=cache,
        )

    def select(
        self, x: Tensor, latent: Tensor, batch: Batch, span: Span, cache: CompressorCache
    ) -> tuple[Tensor, Tensor]:
        """Entries for the queries of one run: (ids [T, K] int64, valid [T, K] bool), K = min(index_topk, entries).

        x [N, D] and latent [N, q] are those of the whole pass; entry j is visible from position (j + 1) * r - 1 on.
        """
        entries = span.stop // self.config.csa_ratio
        rows = slice(span.begin, span.end)
        visible = (batch.positions[rows] + 1) // self.config.csa_ratio
        ids = torch.arange(entries, device=x.device)
        if entries <= self.config.index_topk:
            return ids.expand(span.end - span.begin, -1), ids < visible[:, None]
        queries = self._queries(latent[rows], batch, rows)
        keys = self.row_format.unpack(cache.entries[span.sequence, :entries])
        heads, dim = self.config.index_n_heads, self.config.index_head_dim
        head_weights = self.weights_proj(x[rows]).float() * (dim**-0.5 * heads**-0.5)
        chosen, valid = [], []
        tile = max(1, SCORE_TILE_BYTES // (heads * entries * 4))
        for q, w, limit in zip(queries.split(tile), head_weights.split(tile), visible.split(tile), strict=True):
            scores = index_scores(q, keys, w).masked_fill(ids >= limit[:, None], float("-inf"))
            best = scores.topk(self.config.index_topk, dim=-1)
            chosen.append(best.indices)
            valid.append(best.values > float("-inf"))
        return torch.cat(chosen), torch.cat(valid)

    def _queries(self, latent: Tensor, batch: Batch, rows: slice) -> Tensor:
        heads = self.wq_b(latent).unflatten(-1, (self.config.index_n_heads, self.config.index_head_dim))
        rotation = type(batch.compressed)(*(part[rows] for part in batch.compressed))
        return self.row_format.round_trip(rotate(heads, rotation))
