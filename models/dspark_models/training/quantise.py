"""Storage formats of the official checkpoints: FP8 in 128x128 blocks, FP4 in groups of 32."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128
GROUP = 32
_E4M3_MAX = 448.0
_E2M1_MAX = 6.0
# Values of the codes 0..7; bit 3 is the sign.
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
# Middle between neighbours; at a tie the code with an even mantissa bit wins.
_MIDDLE = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def power_scale(amax: Tensor, largest: float) -> Tensor:
    """Exponents e, int32, with ``amax <= largest * 2**e``; the smallest such power."""
    ratio = amax.double().clamp_min(2.0**-120) / largest
    mantissa, exponent = torch.frexp(ratio)
    return (exponent - (mantissa == 0.5).int()).to(torch.int32).clamp(min=-126)


def _scale_tensor(exponent: Tensor) -> Tensor:
    """E8M0 bytes (exponent + 127) as ``float8_e8m0fnu``."""
    return (exponent + 127).to(torch.uint8).view(torch.float8_e8m0fnu)


def _scale_value(scale: Tensor) -> Tensor:
    """Float32 value of E8M0 scales."""
    return torch.exp2(scale.view(torch.uint8).float() - 127)


def to_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[out, in] to (e4m3 [out, in], E8M0 scales [ceil(out/128), ceil(in/128)])."""
    rows, columns = weight.shape
    r, c = -(-rows // BLOCK), -(-columns // BLOCK)
    full = torch.zeros(r * BLOCK, c * BLOCK)
    full[:rows, :columns] = weight.float()
    amax = full.view(r, BLOCK, c, BLOCK).abs().amax((1, 3))
    scale = _scale_tensor(power_scale(amax, _E4M3_MAX))
    wide = _spread(_scale_value(scale), rows, columns)
    return (weight.float() / wide).to(torch.float8_e4m3fn), scale


def from_fp8(value: Tensor, scale: Tensor) -> Tensor:
    """Float32 [out, in] of :func:`to_fp8`."""
    return value.float() * _spread(_scale_value(scale), *value.shape)


def _spread(scale: Tensor, rows: int, columns: int) -> Tensor:
    """Repeat block scales over the elements of their blocks."""
    wide = scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return wide[:rows, :columns]


def to_fp4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[out, in] to (int8 [out, in/2], low nibble first; E8M0 scales [out, in/32])."""
    rows, columns = weight.shape
    groups = weight.float().view(rows, columns // GROUP, GROUP)
    scale = _scale_tensor(power_scale(groups.abs().amax(2), _E2M1_MAX))
    x = (groups / _scale_value(scale).unsqueeze(2)).view(rows, columns)
    size = x.abs().unsqueeze(-1)
    middle = torch.tensor(_MIDDLE)
    # Code i+1 is the upper neighbour of middle i: it wins a tie when it is even.
    even_up = torch.arange(1, 8) % 2 == 0
    code = ((size > middle) | ((size == middle) & even_up)).sum(-1).to(torch.uint8)
    code |= torch.signbit(x).to(torch.uint8) << 3
    return (code[:, 0::2] | (code[:, 1::2] << 4)).view(torch.int8), scale


def from_fp4(value: Tensor, scale: Tensor) -> Tensor:
    """Float32 [out, in] of :func:`to_fp4`."""
    byte = value.view(torch.uint8)
    code = torch.stack((byte & 15, byte >> 4), -1).flatten(1)
    table = torch.tensor([*_E2M1, *(-v for v in _E2M1)])
    x = table[code.long()]
    return x * _scale_value(scale).repeat_interleave(GROUP, 1)
