"""Matrices that stay in their storage format and are expanded when they are used.

A bounded cache keeps the expanded form of the first dense matrices that ask for it, so that a small model does not
pay for the expansion in every pass and a large one never holds more than the bound on top of its files.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.fp4 import dequantize_fp4
from dspark_kernels.fp8 import dequantize_fp8
from dspark_models.checkpoint import Checkpoint

EXPANDED_CACHE_BYTES = 64 * 2**20


class ExpandedCache:
    """Counts the bytes of expanded copies; first come, first kept, nothing is evicted."""

    def __init__(self, limit_bytes: int = EXPANDED_CACHE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def admits(self, nbytes: int) -> bool:
        """Reserve room for a copy; False when the bound would be passed."""
        if self.held_bytes + nbytes > self.limit_bytes:
            return False
        self.held_bytes += nbytes
        return True


class Matrix:
    """W [out, in] for y = W x: FP8 with block scales, FP4 with group scales, or plain 16/32-bit values."""

    def __init__(self, weight: Tensor, scale: Tensor | None, cache: ExpandedCache | None = None) -> None:
        self.weight = weight
        self.scale = scale
        self._cache = cache
        self._expanded: Tensor | None = None
        is_packed = scale is not None and weight.dtype in (torch.int8, torch.uint8)
        self.shape = (weight.shape[0], weight.shape[1] * (2 if is_packed else 1))
        self._is_packed = is_packed

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, name: str, device: torch.device, cache: ExpandedCache | None = None
    ) -> Matrix:
        """`name.weight` with `name.scale` if the checkpoint has one."""
        scale = checkpoint.get(f"{name}.scale").to(device) if f"{name}.scale" in checkpoint.tensors else None
        return cls(checkpoint.get(f"{name}.weight").to(device), scale, cache)

    @property
    def nbytes(self) -> int:
        """Bytes in storage format."""
        return self.weight.nbytes + (self.scale.nbytes if self.scale is not None else 0)

    def to(self, device: torch.device) -> Matrix:
        """The same matrix on another device, still in its storage format."""
        if self.weight.device == device:
            return self
        scale = None if self.scale is None else self.scale.to(device)
        return Matrix(self.weight.to(device), scale, self._cache)

    def expand(self, dtype: torch.dtype) -> Tensor:
        """[out, in] in dtype; exact for bfloat16 and float32."""
        if self._expanded is not None and self._expanded.dtype == dtype:
            return self._expanded
        if self.scale is None:
            expanded = self.weight.to(dtype)
        elif self._is_packed:
            expanded = dequantize_fp4(self.weight, self.scale, dtype)
        else:
            expanded = dequantize_fp8(self.weight, self.scale, dtype)
        is_copy = expanded.data_ptr() != self.weight.data_ptr()
        if is_copy and self._cache is not None and self._cache.admits(expanded.nbytes):
            self._expanded = expanded
        return expanded

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out] in the dtype of x. Rounding x to FP8 is the caller's, who may share it."""
        return x @ self.expand(x.dtype).t()


class Head:
    """The output head: logits in float32 from 16-bit weights, expanded a slice at a time."""

    SLICE_BYTES = 32 * 2**20

    def __init__(self, weight: Tensor, cache: ExpandedCache) -> None:
        self.weight = weight
        self._whole = Matrix(weight, None, cache)
        wide_row = weight.shape[1] * 4
        self._slice_rows = max(1, self.SLICE_BYTES // wide_row)

    def __call__(self, x: Tensor) -> Tensor:
        """x [N, D] -> logits [N, V] float32."""
        wide = x.float()
        if self.weight.shape[0] <= self._slice_rows:
            return wide @ self._whole.expand(torch.float32).t()
        slices = self.weight.split(self._slice_rows)
        return torch.cat([wide @ rows.float().t() for rows in slices], dim=-1)
