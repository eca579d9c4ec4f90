"""FP8 e4m3 weights with one UE8M0 scale per 128x128 block, and the same rule for activations in groups of 128.

W[o, i] = e4m3(w[o, i]) * 2^(scale[o // 128, i // 128] - 127). Every product fits bfloat16 exactly (3 mantissa bits),
so expanding to bfloat16 loses nothing. Source: the release's kernel.py, as described in its model card.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.ue8m0 import ceil_power_of_two, decode_ue8m0, encode_ue8m0

BLOCK = 128
E4M3_MAX = 448.0
ACTIVATION_AMAX_FLOOR = 1e-4


def dequantize_fp8(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """weight [out, in] float8_e4m3fn, scale [ceil(out/128), ceil(in/128)] UE8M0 or float32 -> [out, in] in dtype.

    Raises ValueError when the scale's shape does not belong to the weight's.
    """
    rows, columns = weight.shape
    expected = (-(-rows // BLOCK), -(-columns // BLOCK))
    if tuple(scale.shape) != expected:
        raise ValueError(f"FP8 weight {rows}x{columns} needs scales {expected}, got {tuple(scale.shape)}")
    factors = decode_ue8m0(scale)
    factors = factors.repeat_interleave(BLOCK, 0)[:rows].repeat_interleave(BLOCK, 1)[:, :columns]
    return (weight.to(torch.float32) * factors).to(dtype)


def quantize_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """float [out, in] -> (float8_e4m3fn [out, in], UE8M0 bytes [ceil(out/128), ceil(in/128)]), power-of-two ceiling."""
    rows, columns = weight.shape
    padded = torch.nn.functional.pad(weight.float(), (0, -columns % BLOCK, 0, -rows % BLOCK))
    blocks = padded.view(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    amax = blocks.abs().amax(dim=(1, 3)).clamp_min(torch.finfo(torch.float32).tiny * E4M3_MAX)
    scale = encode_ue8m0(ceil_power_of_two(amax, E4M3_MAX))
    scaled = blocks / decode_ue8m0(scale)[:, None, :, None]
    codes = scaled.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).view(padded.shape)
    return codes[:rows, :columns].contiguous(), scale


def encode_groups_e4m3(values: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """values [..., n * group] -> (float8_e4m3fn codes of the same shape, UE8M0 bytes [..., n]).

    amax is floored at 1e-4, the scale is the power-of-two ceiling of amax / 448, rounding is to nearest even.
    """
    grouped = values.float().unflatten(-1, (-1, group))
    amax = grouped.abs().amax(-1).clamp_min(ACTIVATION_AMAX_FLOOR)
    scale = encode_ue8m0(ceil_power_of_two(amax, E4M3_MAX))
    scaled = grouped / decode_ue8m0(scale)[..., None]
    return scaled.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).flatten(-2), scale


def decode_groups_e4m3(codes: Tensor, scale: Tensor, group: int) -> Tensor:
    """The inverse of encode_groups_e4m3, in float32."""
    grouped: Tensor = codes.to(torch.float32).unflatten(-1, (-1, group))
    return (grouped * decode_ue8m0(scale)[..., None]).flatten(-2)


def fake_quantize_activation(x: Tensor) -> Tensor:
    """x [..., K] rounded to e4m3 in groups of 128 along K, same dtype; a last shorter group stands for itself.

    Source: the release quantises the input of every FP8 and FP4 linear this way, `wo_a` excepted.
    """
    columns = x.shape[-1]
    padded = torch.nn.functional.pad(x, (0, -columns % BLOCK)) if columns % BLOCK else x
    codes, scale = encode_groups_e4m3(padded, BLOCK)
    return decode_groups_e4m3(codes, scale, BLOCK)[..., :columns].to(x.dtype)
