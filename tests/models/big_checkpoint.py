"""A checkpoint of more than 2 GB, written in seconds: random blocks, repeated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tests.models.checkpoints import INDEX_NAME, shard_key, tensor_shapes
from tests.models.configs import RELEASE, Config

BIG: Config = {
    **RELEASE,
    "compress_ratios": [0, 4, 128, 4, 128, 4, 128],
    "num_hidden_layers": 7,
    "hidden_size": 2048,
    "moe_intermediate_size": 1024,
    "n_routed_experts": 64,
    "num_experts_per_tok": 4,
    "vocab_size": 4096,
}


def _filled(like: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """A tensor of this shape and dtype with values of plausible size: one random block, repeated."""
    count = like.numel()
    size = min(count, 1 << 16)
    if like.dtype == torch.float8_e8m0fnu:
        return torch.full(like.shape, 121, dtype=torch.uint8).view(like.dtype)
    if like.dtype == torch.int8:
        block = torch.from_numpy(random.integers(-128, 128, size, dtype=np.int8))
    elif like.dtype == torch.int64:
        block = torch.arange(size) % BIG["n_routed_experts"]
    else:
        block = torch.from_numpy(0.02 * random.standard_normal(size)).to(like.dtype)
    repeated = block.view(torch.uint8).repeat(-(-count // size))
    return repeated[: count * like.element_size()].clone().view(like.dtype).view(like.shape)


def write_big_checkpoint(path: Path) -> int:
    """Write it shard by shard; returns its size on disk in bytes."""
    path.mkdir(parents=True)
    shapes = tensor_shapes(BIG, draft="dspark")
    (path / "config.json").write_text(json.dumps(shapes.config))
    random = np.random.default_rng(0)
    weight_map: dict[str, str] = {}
    for key in sorted({shard_key(name) for name in shapes.stored}):
        file = f"model-{key}.safetensors"
        tensors = {name: _filled(t, random) for name, t in shapes.stored.items() if shard_key(name) == key}
        save_file(tensors, path / file)
        weight_map.update(dict.fromkeys(tensors, file))
    (path / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return sum(file.stat().st_size for file in path.iterdir())
