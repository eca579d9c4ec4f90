"""Rotary embedding of the last dimensions, in interleaved pairs, with YaRN where a layer compresses.

Source: DeepSeek-V4 technical report; YaRN, Peng et al. 2023. V4 applies no attention factor (mscale) and scales the
frequencies at every position, not only beyond the original context.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class YarnScaling(NamedTuple):
    """factor > 1 stretches frequencies slower than beta_slow turns over the original context, none above beta_fast."""

    factor: float
    original_context: int
    beta_fast: float
    beta_slow: float


def rope_frequencies(rope_dim: int, base: float, yarn: YarnScaling | None) -> Tensor:
    """[rope_dim / 2] float32 angles per position."""
    frequencies = base ** (-torch.arange(0, rope_dim, 2, dtype=torch.float32) / rope_dim)
    if yarn is None:
        return frequencies

    def dimension_of(turns: float) -> float:
        return rope_dim * math.log(yarn.original_context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(dimension_of(yarn.beta_fast)), 0)
    high = min(math.ceil(dimension_of(yarn.beta_slow)), rope_dim - 1)
    span = max(high - low, 1e-3)
    ramp = ((torch.arange(rope_dim // 2, dtype=torch.float32) - low) / span).clamp(0, 1)
    return frequencies * (1 - ramp) + frequencies / yarn.factor * ramp


class Rotation(NamedTuple):
    """cos and sin [T, rope_dim / 2] float32 of the angles at T positions."""

    cos: Tensor
    sin: Tensor


def rotation_at(positions: Tensor, frequencies: Tensor) -> Rotation:
    """positions [T] int64, frequencies [rope_dim / 2] -> the angles' cos and sin."""
    angles = positions.float()[:, None] * frequencies
    return Rotation(angles.cos(), angles.sin())


def rotate(x: Tensor, rotation: Rotation, *, inverse: bool = False) -> Tensor:
    """Rotate the last 2 * rotation.cos.shape[-1] dimensions of x [T, D] or [T, H, D]; the rest stays.

    inverse turns by the negative angle, as the attention output needs. float32 inside, the dtype of x outside.
    """
    rope_dim = 2 * rotation.cos.shape[-1]
    cos, sin = rotation.cos, rotation.sin
    if x.dim() == 3:
        cos, sin = cos[:, None], sin[:, None]
    if inverse:
        sin = -sin
    pairs = x[..., -rope_dim:].float().unflatten(-1, (-1, 2))
    a, b = pairs[..., 0], pairs[..., 1]
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    return torch.cat([x[..., :-rope_dim], turned.to(x.dtype)], dim=-1)
