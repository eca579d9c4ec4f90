"""How a model computes: the dtype of its arithmetic and which of the release's rounding steps are applied.

V4 was trained with FP8 latent rows, FP4 index keys and FP8 activations, so these steps are part of the model.
`float32` leaves them all out: the pure formulas on dequantised weights, which is what oracles compare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dspark_kernels.fp8 import fake_quantize_activation

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Numerics:
    """dtype of activations and caches, and three switches for the release's own roundings.

    activation_fp8: inputs of FP8 and FP4 linears in groups of 128. kv_fp8: latent rows in 584-byte form (at
    head_dim 512). index_fp4: index queries and keys Hadamard-rotated, keys in 68-byte form (at index_head_dim 128).
    """

    dtype: torch.dtype = torch.float32
    activation_fp8: bool = False
    kv_fp8: bool = False
    index_fp4: bool = False

    @classmethod
    def for_dtype(cls, name: str, device: torch.device) -> Numerics:
        """float32 is pure; bfloat16 and float16 are the release's steps in that dtype; auto picks for the device.

        auto on a CPU computes in float32 and still takes the release's steps: rounding inputs and cache rows as the
        model was trained is what matters, and 16-bit arithmetic is slow on most CPUs. Raises ValueError.
        """
        if name == "float32":
            return cls()
        release = cls(activation_fp8=True, kv_fp8=True, index_fp4=True)
        if name == "auto":
            if device.type != "cuda":
                return release
            has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
            return replace(release, dtype=torch.bfloat16 if has_bfloat16 else torch.float16)
        if name not in DTYPES:
            raise ValueError(f"dtype {name!r} is not one of float32, bfloat16, float16, auto")
        return replace(release, dtype=DTYPES[name])

    def quantize_activation(self, x: Tensor) -> Tensor:
        """x [..., K] as an FP8 or FP4 linear sees it."""
        return fake_quantize_activation(x) if self.activation_fp8 else x

    def describe(self) -> str:
        """One line for people."""
        name = str(self.dtype).removeprefix("torch.")
        steps = [
            label
            for label, is_on in (
                ("FP8 activations", self.activation_fp8),
                ("FP8 latent KV", self.kv_fp8),
                ("FP4 index keys", self.index_fp4),
            )
            if is_on
        ]
        return f"{name}, {', '.join(steps)}" if steps else f"{name}, pure formulas"
