"""Which storage format each tensor of a checkpoint has, and rounding to it."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from dspark_models.training.quantise import from_fp4, from_fp8, to_fp4, to_fp8

_EXPERT = re.compile(r"\.ffn\.experts\.\d+\.w[123]\.weight$")
_STACK = re.compile(r"\.ffn\.experts\.w[123]$")
_DENSE = re.compile(
    r"(\.attn\.(wq_a|wq_b|wkv|wo_a|wo_b)|\.attn\.indexer\.wq_b"
    r"|\.ffn\.shared_experts\.w[123]|\.main_proj)\.weight$"
)
_FLOAT32 = re.compile(r"(hc_(attn|ffn|head)[_.](fn|base|scale)|attn_sink|\.ape|\.ffn\.gate\.bias)$")


def kind_of(name: str) -> str:
    """ "fp4", "fp8", "int64", "float32" or "bfloat16" for an official or training name."""
    if _EXPERT.search(name) or _STACK.search(name):
        return "fp4"
    if _DENSE.search(name):
        return "fp8"
    if name.endswith("tid2eid"):
        return "int64"
    return "float32" if _FLOAT32.search(name) else "bfloat16"


def encode(name: str, value: Tensor) -> dict[str, Tensor]:
    """The tensors stored for one parameter: its values and, if quantised, its ``.scale``."""
    value = value.detach().cpu()
    kind = kind_of(name)
    if kind in ("fp4", "fp8"):
        stored, scale = to_fp4(value) if kind == "fp4" else to_fp8(value)
        return {name: stored, name.removesuffix(".weight") + ".scale": scale}
    dtype = {"int64": torch.int64, "float32": torch.float32}.get(kind, torch.bfloat16)
    return {name: value.to(dtype).contiguous()}


def decode(name: str, tensors: dict[str, Tensor]) -> Tensor:
    """Float32 (or int64) value of a stored parameter."""
    kind = kind_of(name)
    if kind in ("fp4", "fp8"):
        scale = tensors[name.removesuffix(".weight") + ".scale"]
        return from_fp4(tensors[name], scale) if kind == "fp4" else from_fp8(tensors[name], scale)
    return tensors[name] if kind == "int64" else tensors[name].float()


def rounded(name: str, value: Tensor) -> Tensor:
    """A parameter as it reads back from its storage format (stacked experts too)."""
    kind = kind_of(name)
    if kind == "fp4":
        flat = value.detach().float().cpu().reshape(-1, value.shape[-1])
        return from_fp4(*to_fp4(flat)).view(value.shape).to(value.device)
    if kind == "fp8":
        return from_fp8(*to_fp8(value.detach().float().cpu())).to(value.device)
    if kind == "bfloat16":
        return value.detach().to(torch.bfloat16).to(value.dtype)
    return value.detach().clone()


@torch.no_grad()
def round_module(module: nn.Module, prefix: str = "") -> None:
    """Round all parameters and buffers of a module in place to what a checkpoint holds."""
    for name, value in module.state_dict().items():
        value.copy_(rounded(prefix + name, value))
