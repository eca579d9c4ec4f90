"""Interleaved rotary embedding with the two tables of DeepSeek-V4."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dspark_models.training.fusion import fusible
from dspark_models.training.shape import Shape


def frequencies(shape: Shape, compressed: bool) -> Tensor:
    """Angular frequencies, float64 [rope/2].

    Layers without compression use the plain base; every rope in a compressed
    layer uses the larger base with YaRN at all positions and without mscale.
    """
    dim = shape.qk_rope_head_dim
    base = shape.compress_rope_theta if compressed else shape.rope_theta
    exponent = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    freq = base**-exponent
    if not compressed:
        return freq

    def corr(rotations: float) -> float:
        turns = shape.yarn_original_positions / (rotations * 2 * math.pi)
        return dim * math.log(turns) / (2 * math.log(base))

    low = max(math.floor(corr(shape.yarn_beta_fast)), 0)
    high = min(math.ceil(corr(shape.yarn_beta_slow)), dim - 1)
    ramp = (torch.arange(dim // 2, dtype=torch.float64) - low) / max(high - low, 1e-3)
    ramp = ramp.clamp(0, 1)
    return freq * (1 - ramp) + freq / shape.yarn_factor * ramp


def table(freq: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine, float32 [n, rope/2], for integer ``positions`` [n]."""
    angle = positions.to(torch.float64)[:, None] * freq[None, :].to(positions.device)
    return angle.cos().float(), angle.sin().float()


@fusible
def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the last ``2 * cos.shape[-1]`` channels of ``x``, pairs (2i, 2i+1).

    ``cos`` and ``sin`` broadcast against ``x[..., :rope/2]``; pass ``-sin`` to
    rotate back.
    """
    rope = 2 * cos.shape[-1]
    plain, turned = x[..., :-rope], x[..., -rope:]
    a, b = turned[..., 0::2], turned[..., 1::2]
    out = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
    return torch.cat((plain, out), dim=-1)
