"""The tokens of one pass: several runs, flattened, with what every layer needs to know of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dspark_kernels.rope import Rotation, rope_frequencies, rotation_at
from dspark_models.deepseek_v4.config import DeepseekV4Config


class Span(NamedTuple):
    """Rows begin..end of the flattened pass belong to `sequence`; the first of them is at position `start`."""

    sequence: int
    start: int
    begin: int
    end: int

    @property
    def stop(self) -> int:
        """The position after the last token."""
        return self.start + self.end - self.begin


class RopeTables:
    """The two families of frequencies: plain for window-only layers and drafts, YaRN for compressed layers."""

    def __init__(self, config: DeepseekV4Config, device: torch.device) -> None:
        dim = config.qk_rope_head_dim
        self.plain = rope_frequencies(dim, config.rope_theta, None).to(device)
        self.compressed = rope_frequencies(dim, config.compress_rope_theta, config.yarn).to(device)


class Batch(NamedTuple):
    """token_ids and positions [N] int64 on the device, and the angles at them for both families of frequencies."""

    token_ids: Tensor
    positions: Tensor
    spans: list[Span]
    plain: Rotation
    compressed: Rotation

    @classmethod
    def build(cls, token_ids: Tensor, spans: list[Span], tables: RopeTables) -> Batch:
        """token_ids [N] on the device, flattened in the order of the spans."""
        device = token_ids.device
        positions = torch.cat([torch.arange(span.start, span.stop, device=device) for span in spans])
        plain, compressed = rotation_at(positions, tables.plain), rotation_at(positions, tables.compressed)
        return cls(token_ids, positions, spans, plain, compressed)
