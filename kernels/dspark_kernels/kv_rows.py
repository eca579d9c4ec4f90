"""Cache rows in the formats that V4 was trained with: latent KV rows and index keys.

A latent row of 512 values is 584 bytes: 448 e4m3 codes, 64 rotary values in bfloat16, 7 UE8M0 scales (one per 64
codes) and padding to a multiple of 8. An index key of 128 values is 68 bytes: 64 bytes of e2m1 pairs and 4 UE8M0
scales. Same contents as vLLM's fp8_ds_mla rows and MXFP4 index keys, kept row by row instead of page by page.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_kernels.fp4 import GROUP as FP4_GROUP
from dspark_kernels.fp4 import dequantize_fp4, encode_groups_e2m1
from dspark_kernels.fp8 import decode_groups_e4m3, encode_groups_e4m3

KV_GROUP = 64


def kv_row_bytes(head_dim: int, rope_dim: int) -> int:
    """Bytes of one latent row; ValueError when the part without rope is not a multiple of 64."""
    nope = head_dim - rope_dim
    if nope % KV_GROUP:
        raise ValueError(f"FP8 KV rows need head_dim - rope_dim to be a multiple of {KV_GROUP}, got {nope}")
    scales = nope // KV_GROUP
    return nope + 2 * rope_dim + -(-scales // 8) * 8


def pack_kv_rows(rows: Tensor, rope_dim: int) -> Tensor:
    """rows [..., head_dim] (rope last, already rotated) -> uint8 [..., kv_row_bytes]."""
    nope = rows.shape[-1] - rope_dim
    packed = torch.zeros(
        *rows.shape[:-1], kv_row_bytes(rows.shape[-1], rope_dim), dtype=torch.uint8, device=rows.device
    )
    codes, scale = encode_groups_e4m3(rows[..., :nope], KV_GROUP)
    rope = rows[..., nope:].to(torch.bfloat16).contiguous()
    packed[..., :nope] = codes.view(torch.uint8)
    packed[..., nope : nope + 2 * rope_dim] = rope.view(torch.uint8)
    packed[..., nope + 2 * rope_dim : nope + 2 * rope_dim + scale.shape[-1]] = scale
    return packed


def unpack_kv_rows(packed: Tensor, head_dim: int, rope_dim: int, dtype: torch.dtype) -> Tensor:
    """The inverse: uint8 [..., kv_row_bytes] -> [..., head_dim] in dtype."""
    nope = head_dim - rope_dim
    end = nope + 2 * rope_dim
    codes = packed[..., :nope].contiguous().view(torch.float8_e4m3fn)
    scale = packed[..., end : end + nope // KV_GROUP].contiguous()
    rope = packed[..., nope:end].contiguous().view(torch.bfloat16)
    return torch.cat([decode_groups_e4m3(codes, scale, KV_GROUP).to(dtype), rope.to(dtype)], dim=-1)


def index_row_bytes(index_dim: int) -> int:
    """Bytes of one index key; ValueError unless the dimension is a multiple of 32."""
    if index_dim % FP4_GROUP:
        raise ValueError(f"FP4 index keys need a dimension that is a multiple of {FP4_GROUP}, got {index_dim}")
    return index_dim // 2 + index_dim // FP4_GROUP


def pack_index_rows(keys: Tensor) -> Tensor:
    """keys [..., D] (already rotated by the Hadamard matrix) -> uint8 [..., index_row_bytes]."""
    return torch.cat(encode_groups_e2m1(keys), dim=-1)


def unpack_index_rows(packed: Tensor, index_dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The inverse: uint8 [..., index_row_bytes] -> [..., D] in dtype."""
    half = index_dim // 2
    return dequantize_fp4(packed[..., :half].contiguous(), packed[..., half:].contiguous(), dtype)
