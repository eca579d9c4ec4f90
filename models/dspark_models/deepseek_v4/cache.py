"""What one V4 layer remembers of every sequence, and the formats of its rows.

Window rows, raw compressor rows and compressed entries are all addressed by position. A compressed entry is hidden
by the visibility rule (entry j is seen from position (j + 1) * r - 1 on) until its group closes, so entries that a
rejected draft wrote need no clearing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dspark_kernels.hadamard import hadamard_rotate
from dspark_kernels.kv_rows import (
    index_row_bytes,
    kv_row_bytes,
    pack_index_rows,
    pack_kv_rows,
    unpack_index_rows,
    unpack_kv_rows,
)
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.numerics import Numerics
from dspark_models.rings import PositionRing

REWIND_SPAN = 32
"""Tokens by which a sequence can always be rewound: more than any draft block, few enough to cost little memory."""


@dataclass(frozen=True, slots=True)
class KVFormat:
    """Latent rows [..., head_dim]: packed FP8 bytes, or plain values of the computing dtype."""

    head_dim: int
    rope_dim: int
    numerics: Numerics

    @property
    def row(self) -> tuple[int, torch.dtype]:
        """(elements of one stored row, their dtype)."""
        if self.numerics.kv_fp8:
            return kv_row_bytes(self.head_dim, self.rope_dim), torch.uint8
        return self.head_dim, self.numerics.dtype

    def pack(self, rows: Tensor) -> Tensor:
        """[..., head_dim] -> stored rows."""
        return pack_kv_rows(rows, self.rope_dim) if self.numerics.kv_fp8 else rows

    def unpack(self, stored: Tensor) -> Tensor:
        """Stored rows -> [..., head_dim] in the computing dtype."""
        if not self.numerics.kv_fp8:
            return stored
        return unpack_kv_rows(stored, self.head_dim, self.rope_dim, self.numerics.dtype)


@dataclass(frozen=True, slots=True)
class IndexFormat:
    """Index keys [..., D]: rotated FP4 bytes, or plain float32 without the rotation (which is orthogonal)."""

    dim: int
    numerics: Numerics

    @property
    def row(self) -> tuple[int, torch.dtype]:
        """(elements of one stored key, their dtype)."""
        return (index_row_bytes(self.dim), torch.uint8) if self.numerics.index_fp4 else (self.dim, torch.float32)

    def pack(self, keys: Tensor) -> Tensor:
        """[..., D] -> stored keys."""
        return pack_index_rows(hadamard_rotate(keys)) if self.numerics.index_fp4 else keys.float()

    def unpack(self, stored: Tensor) -> Tensor:
        """Stored keys -> [..., D] float32, still rotated if they are packed."""
        return unpack_index_rows(stored, self.dim) if self.numerics.index_fp4 else stored

    def round_trip(self, queries: Tensor) -> Tensor:
        """Queries [..., D] as the release scores them: rotated and cut to FP4 like the keys."""
        return self.unpack(self.pack(queries))


class CompressorCache:
    """Raw rows of a compressor (values and scores, float32) and its finished entries.

    raw rows [2, width]; entries [sequences, context // ratio, stored row].
    """

    def __init__(
        self,
        *,
        sequences: int,
        ratio: int,
        width: int,
        lookback: int,
        context: int,
        row: tuple[int, torch.dtype],
        device: torch.device,
    ) -> None:
        self.ratio = ratio
        self.lookback = lookback
        self.raw = PositionRing(sequences, lookback + REWIND_SPAN, (2, width), torch.float32, device)
        self.entries = torch.zeros(sequences, max(context // ratio, 1), row[0], dtype=row[1], device=device)


class LayerCache:
    """Window, compressor and indexer rows of one layer, for all sequences."""

    def __init__(
        self,
        config: DeepseekV4Config,
        layer: int,
        numerics: Numerics,
        sequences: int,
        context: int,
        device: torch.device,
    ) -> None:
        kv_row = KVFormat(config.head_dim, config.qk_rope_head_dim, numerics).row
        self.window = PositionRing(sequences, config.sliding_window + REWIND_SPAN, kv_row[:1], kv_row[1], device)
        self.compressor: CompressorCache | None = None
        self.indexer: CompressorCache | None = None
        ratio = config.ratio(layer)
        if ratio:
            overlap = 2 if config.is_csa(layer) else 1
            self.compressor = CompressorCache(
                sequences=sequences,
                ratio=ratio,
                width=overlap * config.head_dim,
                lookback=overlap * ratio,
                context=context,
                row=kv_row,
                device=device,
            )
        if config.is_csa(layer):
            self.indexer = CompressorCache(
                sequences=sequences,
                ratio=ratio,
                width=2 * config.index_head_dim,
                lookback=2 * ratio,
                context=context,
                row=IndexFormat(config.index_head_dim, numerics).row,
                device=device,
            )

    @property
    def rings(self) -> list[PositionRing]:
        """All rings, in a fixed order: what a snapshot has to copy."""
        return [self.window, *(part.raw for part in (self.compressor, self.indexer) if part is not None)]

    def copy_entries(self, source: int, target: int, tokens: int) -> None:
        """Copy the compressed entries that the first `tokens` tokens of a sequence finished to another sequence."""
        for part in (self.compressor, self.indexer):
            if part is not None:
                count = tokens // part.ratio
                part.entries[target, :count] = part.entries[source, :count]

    def bytes_held(self) -> dict[str, int]:
        """Bytes by part, of all sequences."""
        compressor, indexer = self.compressor, self.indexer
        return {
            "window": self.window.nbytes,
            "compressed": compressor.entries.nbytes if compressor else 0,
            "index": indexer.entries.nbytes if indexer else 0,
            "compressor_state": sum(ring.nbytes for ring in self.rings[1:]),
        }
