"""FP4 e2m1, two codes a byte, with one UE8M0 scale per 32 inputs (MXFP4), in the byte order of the release.

Element 2k is the low nibble of byte k, element 2k+1 the high one. Codes 0..7 are 0, .5, 1, 1.5, 2, 3, 4, 6; bit 3 is
the sign. GGUF orders nibbles differently and has to be repacked. Source: OCP Microscaling Formats 1.0, section 5.3.3.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from dspark_kernels.ue8m0 import ceil_power_of_two, decode_ue8m0, encode_ue8m0

GROUP = 32
E2M1_MAX = 6.0
E2M1_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_AMAX_FLOOR = E2M1_MAX * 2.0**-126
# Halfway points between neighbouring codes; a tie goes to the even code.
_MIDPOINTS = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


@lru_cache(maxsize=8)
def _byte_table(device: torch.device) -> Tensor:
    """[256, 2] float32: the two values in each byte."""
    signed = torch.tensor([*E2M1_VALUES, *(-v for v in E2M1_VALUES)], device=device)
    codes = torch.arange(256, device=device)
    return torch.stack([signed[codes & 15], signed[codes >> 4]], dim=-1)


def unpack_e2m1(packed: Tensor) -> Tensor:
    """packed [..., n] uint8 or int8 -> values [..., 2n] float32."""
    index = packed.view(torch.uint8).reshape(-1).to(torch.int32)
    return _byte_table(packed.device).index_select(0, index).view(*packed.shape[:-1], packed.shape[-1] * 2)


def encode_e2m1(values: Tensor) -> Tensor:
    """float values -> codes uint8 of the same shape: nearest on the grid, ties to the even code, clamped to +-6."""
    magnitude = values.abs().float().clamp_max(E2M1_MAX)
    midpoints = torch.tensor(_MIDPOINTS, device=values.device)
    above = torch.bucketize(magnitude, midpoints)  # a midpoint itself counts as below
    is_tie = magnitude == midpoints[above.clamp_max(len(_MIDPOINTS) - 1)]
    codes = above + (is_tie & (above % 2 == 1))
    return (codes + 8 * torch.signbit(values)).to(torch.uint8)


def pack_e2m1(values: Tensor) -> Tensor:
    """values [..., 2n] float -> packed [..., n] uint8."""
    codes = encode_e2m1(values)
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def encode_groups_e2m1(values: Tensor) -> tuple[Tensor, Tensor]:
    """values [..., n * 32] -> (packed [..., n * 16] uint8, UE8M0 bytes [..., n]), scale 2^ceil(log2(amax / 6))."""
    grouped = values.float().unflatten(-1, (-1, GROUP))
    amax = grouped.abs().amax(-1).clamp_min(_AMAX_FLOOR)
    scale = encode_ue8m0(ceil_power_of_two(amax, E2M1_MAX))
    return pack_e2m1((grouped / decode_ue8m0(scale)[..., None]).flatten(-2)), scale


def dequantize_fp4(packed: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """packed [..., n * 16] (uint8 or int8), scale [..., n] UE8M0 -> [..., n * 32] in dtype.

    Serves expert weights (packed [out, in/2], scale [out, in/32]) and index keys alike. Raises ValueError when the
    scale's shape does not belong to the packed one's.
    """
    if packed.shape[-1] != scale.shape[-1] * (GROUP // 2) or packed.shape[:-1] != scale.shape[:-1]:
        raise ValueError(f"FP4 codes {tuple(packed.shape)} and scales {tuple(scale.shape)} do not belong together")
    values: Tensor = unpack_e2m1(packed).unflatten(-1, (-1, GROUP))
    return (values * decode_ue8m0(scale)[..., None]).flatten(-2).to(dtype)
