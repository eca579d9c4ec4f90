"""UE8M0: a scale stored as one exponent byte, 2^(byte - 127). Byte 255 is NaN.

Source: OCP Microscaling Formats 1.0, section 5.4; the power-of-two ceiling is the release's own rule for activations,
latent KV rows and index keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

BIAS = 127


def decode_ue8m0(scale: Tensor) -> Tensor:
    """Scales of any shape, float8_e8m0fnu or uint8 exponent bytes or float32 (returned as is), to float32."""
    if scale.dtype == torch.float32:
        return scale
    exponents = scale.view(torch.uint8) if scale.dtype != torch.uint8 else scale
    if exponents.device.type == "cpu":
        return exponents.view(torch.float8_e8m0fnu).to(torch.float32)
    return torch.ldexp(torch.ones((), device=exponents.device), exponents.to(torch.int32) - BIAS)


def ceil_power_of_two(amax: Tensor, max_code: float) -> Tensor:
    """The exponent e with the smallest 2^e >= amax / max_code, as int32; exact, by frexp and not by a logarithm.

    amax is float32 and positive.
    """
    mantissa, exponent = torch.frexp(amax * (1.0 / max_code))
    # frexp gives a mantissa in [0.5, 1): only an exact power of two has 0.5, and is its own ceiling.
    return torch.where(mantissa == 0.5, exponent - 1, exponent)


def encode_ue8m0(exponent: Tensor) -> Tensor:
    """Exponents (int32) to bytes, clamped to the format's range 2^-127 .. 2^127."""
    return (exponent + BIAS).clamp(0, 254).to(torch.uint8)
