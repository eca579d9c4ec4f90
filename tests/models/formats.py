"""Number formats by table, written apart from the product's kernels so that both can be compared.

Everything is numpy float64 on the outside; codes and scale bytes are uint8.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

E2M1_GRID = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def _e4m3_value(code: int) -> float:
    sign = -1.0 if code & 0x80 else 1.0
    exponent, mantissa = (code >> 3) & 15, code & 7
    if exponent == 15 and mantissa == 7:
        return float("nan")
    if exponent == 0:
        return sign * mantissa * 2.0**-9
    return sign * (8 + mantissa) * 2.0 ** (exponent - 10)


E4M3_TABLE: Floats = np.array([_e4m3_value(code) for code in range(256)])
E2M1_TABLE: Floats = np.concatenate([E2M1_GRID, -E2M1_GRID])


def round_e4m3(values: Floats) -> Floats:
    """To the nearest e4m3fn value, ties to the even mantissa, saturating at 448."""
    size = np.minimum(np.abs(values), 448.0)
    exponent = np.floor(np.log2(np.maximum(size, 2.0**-20)))
    step = 2.0 ** (np.maximum(exponent, -6.0) - 3.0)
    return np.copysign(np.minimum(np.rint(size / step) * step, 448.0), values)


def encode_e4m3(values: Floats) -> Bytes:
    """Codes of the rounded values."""
    rounded = round_e4m3(values)
    codes = np.searchsorted(E4M3_TABLE[:127], np.abs(rounded)) + 128 * np.signbit(rounded)
    return np.asarray(codes, dtype=np.uint8)


def round_e2m1(values: Floats) -> Floats:
    """To the nearest of 0 .5 1 1.5 2 3 4 6, ties to the even code, saturating at 6."""
    size = np.minimum(np.abs(values), 6.0)
    step = np.where(size < 2.0, 0.5, np.where(size < 4.0, 1.0, 2.0))
    rounded: Floats = np.copysign(np.rint(size / step) * step, values)
    return rounded


def encode_e2m1(values: Floats) -> Bytes:
    """Codes 0..15 of the rounded values; bit 3 is the sign."""
    rounded = round_e2m1(values)
    codes = np.searchsorted(E2M1_GRID, np.abs(rounded)) + 8 * np.signbit(rounded)
    return np.asarray(codes, dtype=np.uint8)


def pack_nibbles(codes: Bytes) -> Bytes:
    """[..., 2n] -> [..., n]: element 2k in the low nibble of byte k, element 2k + 1 in the high one."""
    return (codes[..., 0::2] + 16 * codes[..., 1::2]).astype(np.uint8)


def unpack_nibbles(packed: Bytes) -> Bytes:
    """The inverse of pack_nibbles."""
    codes: Bytes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
    return codes


def scale_exponent(amax: Floats, largest: float) -> NDArray[np.int64]:
    """The release's rule: float32 amax * (1 / largest), then its exponent, plus one if the mantissa is not zero."""
    ratio = amax.astype(np.float32) * np.float32(1.0 / largest)
    mantissa, exponent = np.frexp(ratio.astype(np.float64))
    return np.where(mantissa == 0.5, exponent - 1, exponent).astype(np.int64)


def round_groups_e4m3(values: Floats, group: int) -> Floats:
    """Quantise and dequantise along the last axis; amax floor 1e-4. A last short group stands for itself."""
    out = np.empty_like(values)
    for start in range(0, values.shape[-1], group):
        part = values[..., start : start + group]
        amax = np.maximum(np.abs(part).max(-1, keepdims=True), 1e-4)
        scale = 2.0 ** scale_exponent(amax, 448.0)
        out[..., start : start + group] = round_e4m3(part / scale) * scale
    return out


def round_groups_e2m1(values: Floats, group: int = 32) -> Floats:
    """Quantise and dequantise along the last axis; amax floor 6 * 2^-126."""
    out = np.empty_like(values)
    for start in range(0, values.shape[-1], group):
        part = values[..., start : start + group]
        amax = np.maximum(np.abs(part).max(-1, keepdims=True), 6.0 * 2.0**-126)
        scale = 2.0 ** scale_exponent(amax, 6.0)
        out[..., start : start + group] = round_e2m1(part / scale) * scale
    return out


def quantize_fp8_blocks(weight: Floats, block: int = 128) -> tuple[Bytes, Bytes]:
    """[out, in] -> (e4m3 codes [out, in], scale bytes [ceil(out / block), ceil(in / block)])."""
    rows, columns = -(-weight.shape[0] // block), -(-weight.shape[1] // block)
    codes = np.zeros(weight.shape, dtype=np.uint8)
    scales = np.zeros((rows, columns), dtype=np.uint8)
    for i in range(rows):
        for j in range(columns):
            area = np.s_[i * block : (i + 1) * block, j * block : (j + 1) * block]
            exponent = int(scale_exponent(np.array(np.abs(weight[area]).max()), 448.0))
            codes[area] = encode_e4m3(weight[area] / 2.0**exponent)
            scales[i, j] = exponent + 127
    return codes, scales


def dequantize_fp8_blocks(codes: Bytes, scales: Bytes, block: int = 128) -> Floats:
    """The inverse of quantize_fp8_blocks."""
    factors = 2.0 ** (scales.astype(np.float64) - 127)
    rows = np.arange(codes.shape[0]) // block
    columns = np.arange(codes.shape[1]) // block
    values: Floats = E4M3_TABLE[codes] * factors[rows][:, columns]
    return values


def quantize_fp4_rows(weight: Floats) -> tuple[Bytes, Bytes]:
    """[out, in] -> (packed [out, in / 2], scale bytes [out, in / 32])."""
    grouped = weight.reshape(weight.shape[0], -1, 32)
    exponent = scale_exponent(np.abs(grouped).max(-1), 6.0)
    codes = encode_e2m1(grouped / 2.0 ** exponent[..., None]).reshape(weight.shape)
    return pack_nibbles(codes), (exponent + 127).astype(np.uint8)


def dequantize_fp4_rows(packed: Bytes, scales: Bytes) -> Floats:
    """The inverse of quantize_fp4_rows."""
    values = E2M1_TABLE[unpack_nibbles(packed)]
    factors = np.repeat(2.0 ** (scales.astype(np.float64) - 127), 32, axis=-1)
    result: Floats = values * factors
    return result


def hadamard(size: int) -> Floats:
    """The Sylvester matrix from its closed form: entry (i, j) is (-1)^popcount(i & j), divided by sqrt(size)."""
    signs = [[-1.0 if (i & j).bit_count() % 2 else 1.0 for j in range(size)] for i in range(size)]
    return np.array(signs) / math.sqrt(size)
