"""One compressor: raw rows in, one entry out for every group of tokens that closes.

Serves the main latent rows of CSA and HCA layers and the index keys of CSA layers. All arithmetic up to the norm is
float32, as in the release.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.compressor import pool_groups, pool_overlapping_groups
from dspark_kernels.rms_norm import rms_norm
from dspark_kernels.rope import rotate, rotation_at
from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.batch import Batch, Span
from dspark_models.deepseek_v4.cache import CompressorCache, IndexFormat, KVFormat
from dspark_models.rings import RowSpan
from dspark_models.weights import ExpandedCache, Matrix


class Compressor:
    """Weights of one compressor and the arithmetic that closes groups."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        prefix: str,
        *,
        ratio: int,
        is_overlapping: bool,
        row_format: KVFormat | IndexFormat,
        eps: float,
        dtype: torch.dtype,
        device: torch.device,
        cache: ExpandedCache,
    ) -> None:
        self.ratio = ratio
        self.is_overlapping = is_overlapping
        self.row_format = row_format
        self.eps = eps
        self.dtype = dtype
        self.ape = checkpoint.get(f"{prefix}.ape").to(device).float()
        self.norm = checkpoint.get(f"{prefix}.norm.weight").to(device)
        self.wkv = Matrix.load(checkpoint, f"{prefix}.wkv", device, cache)
        self.wgate = Matrix.load(checkpoint, f"{prefix}.wgate", device, cache)

    def append(self, x: Tensor, batch: Batch, frequencies: Tensor, cache: CompressorCache) -> None:
        """x [N, D] of all runs of the pass: store their raw rows and the entries of the groups that they close."""
        wide = x.float()
        scores = self.wgate(wide) + self.ape[batch.positions % self.ratio]
        rows = torch.stack([self.wkv(wide), scores], dim=1)
        for span in batch.spans:
            raw = cache.raw.extend(span.sequence, span.start, rows[span.begin : span.end], cache.lookback)
            self._close_groups(span, raw, frequencies, cache)

    def _close_groups(self, span: Span, raw: RowSpan, frequencies: Tensor, cache: CompressorCache) -> None:
        first, last = span.start // self.ratio, span.stop // self.ratio
        if first == last:
            return
        entries = self._pool(raw, first, last).to(self.dtype)
        positions = torch.arange(first, last, device=entries.device) * self.ratio
        entries = rotate(rms_norm(entries, self.norm, self.eps), rotation_at(positions, frequencies))
        cache.entries[span.sequence, first:last] = self.row_format.pack(entries)

    def _pool(self, raw: RowSpan, first: int, last: int) -> Tensor:
        """Groups first .. last - 1 from raw rows [n, 2, width] -> [last - first, d]."""
        lead = 1 if self.is_overlapping else 0
        begin = (first - lead) * self.ratio
        rows = raw.rows[max(begin, 0) - raw.base : last * self.ratio - raw.base]
        if begin < 0:
            rows = torch.cat([rows.new_zeros(self.ratio, *rows.shape[1:]), rows])
        grouped = rows.unflatten(0, (last - first + lead, self.ratio))
        values, scores = grouped[:, :, 0], grouped[:, :, 1]
        if self.is_overlapping:
            return pool_overlapping_groups(values, scores, first_is_start=begin < 0)
        return pool_groups(values, scores)
