"""The clamped SwiGLU feed-forward of one expert."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def clamped_swiglu(gate: Tensor, up: Tensor, limit: float) -> Tensor:
    """silu(min(gate, limit)) * clamp(up, -limit, limit), float32: the gate is clamped from above only."""
    return torch.nn.functional.silu(gate.float().clamp_max(limit)) * up.float().clamp(-limit, limit)


def expert_ffn(
    x: Tensor,
    w1: Tensor,
    w3: Tensor,
    w2: Tensor,
    *,
    limit: float,
    routing_weight: Tensor | None = None,
    quantize: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """x [N, D] with w1 (gate) and w3 (up) [I, D], w2 (down) [D, I], all of one dtype -> [N, D] float32.

    routing_weight [N] float32 is applied before w2, where the release rounds to FP8: `quantize` is that rounding, x
    is expected to have gone through it already.
    """
    hidden = clamped_swiglu(x @ w1.t(), x @ w3.t(), limit)
    if routing_weight is not None:
        hidden = hidden * routing_weight[:, None]
    hidden = hidden.to(x.dtype)
    if quantize is not None:
        hidden = quantize(hidden)
    return (hidden @ w2.t()).float()
