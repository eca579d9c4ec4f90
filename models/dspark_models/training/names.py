"""Mapping between the training parameters and the official tensor names.

The training modules carry the official names already, except for two things:
hyper-connection parameters are grouped in a submodule (``hc_attn.fn`` is
``hc_attn_fn``) and the experts of a layer are stacked.
"""

from __future__ import annotations

import re
from collections import defaultdict

import torch
from torch import Tensor

_HYPER = re.compile(r"(hc_attn|hc_ffn|hc_head)\.(fn|base|scale)$")
_HYPER_OFFICIAL = re.compile(r"(hc_attn|hc_ffn|hc_head)_(fn|base|scale)$")
_STACK = re.compile(r"(.*\.ffn\.experts)\.(w[123])$")
_EXPERT = re.compile(r"(.*\.ffn\.experts)\.(\d+)\.(w[123])\.weight$")


def official_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict and split stacked experts into single tensors."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        stack = _STACK.match(name)
        if stack:
            for e, w in enumerate(value.unbind(0)):
                out[f"{stack[1]}.{e}.{stack[2]}.weight"] = w
        else:
            out[_HYPER.sub(r"\1_\2", name)] = value
    return out


def training_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`official_tensors`."""
    out: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for name, value in tensors.items():
        expert = _EXPERT.match(name)
        if expert:
            stacks[f"{expert[1]}.{expert[3]}"][int(expert[2])] = value
        else:
            out[_HYPER_OFFICIAL.sub(r"\1.\2", name)] = value
    for name, rows in stacks.items():
        out[name] = torch.stack([rows[e] for e in range(len(rows))])
    return out
