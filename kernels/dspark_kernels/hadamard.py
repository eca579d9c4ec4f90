"""The normalised Hadamard rotation that spreads outliers before index queries and keys are cut to FP4."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=8)
def _matrix(size: int, device: torch.device) -> Tensor:
    if size & (size - 1):
        raise ValueError(f"A Hadamard matrix in Sylvester order needs a power of two, got {size}")
    matrix: Tensor = torch.ones(1, 1, device=device)
    while matrix.shape[0] < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)], 0)
    return matrix.mul(size**-0.5)


def hadamard_rotate(x: Tensor) -> Tensor:
    """x [..., D], D a power of two -> x times the D x D Hadamard matrix (Sylvester order) scaled by D^-0.5, float32."""
    return x.float() @ _matrix(x.shape[-1], x.device)
