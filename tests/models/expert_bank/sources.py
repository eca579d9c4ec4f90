"""Checkpoints whose experts are stored in every known way, spread over shards in every way, and their repacking."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.models.checkpoints import INDEX_NAME, Checkpoint, Draft, random_checkpoint
from tests.models.configs import FLASH
from tests.models.formats import quantize_fp8_blocks

SMALL = {**FLASH, "compress_ratios": [0, 4], "num_hidden_layers": 2, "num_hash_layers": 1, "n_routed_experts": 4}
"""Two layers with four experts each: repacked in a blink."""


def bf16_experts(config: dict[str, Any], draft: Draft) -> Checkpoint:
    """Nothing quantised, no scales."""
    official = random_checkpoint(config, draft=draft)
    plain = {k: v for k, v in official.config.items() if k not in ("quantization_config", "expert_dtype")}
    values = official.dense(torch.bfloat16)
    eight_bit = (torch.float8_e4m3fn, torch.int8)
    kept = {name: t for name, t in official.stored.items() if name in values and t.dtype not in eight_bit}
    return Checkpoint(plain, {**values, **kept})


def fp8_experts(config: dict[str, Any], draft: Draft) -> Checkpoint:
    """Experts as in the -Base releases: FP8 with float32 block scales."""
    official = random_checkpoint(config, draft=draft)
    stored, values = dict(official.stored), official.dense()
    for name in [name for name in stored if ".ffn.experts." in name and name.endswith(".weight")]:
        codes, scales = quantize_fp8_blocks(values[name].numpy())
        stored[name] = torch.from_numpy(codes).view(torch.float8_e4m3fn)
        exponents = torch.from_numpy(scales).view(torch.float8_e8m0fnu)
        stored[f"{name.removesuffix('.weight')}.scale"] = exponents.to(torch.float32)
    return Checkpoint({k: v for k, v in official.config.items() if k != "expert_dtype"}, stored)


def write_scattered(checkpoint: Checkpoint, path: Path, shards: int = 3) -> Path:
    """Every tensor in a shard drawn at random, so that experts are split."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(checkpoint.config))
    draw = random.Random(0)
    weight_map = {name: f"part-{draw.randrange(shards)}.safetensors" for name in checkpoint.stored}
    for shard in sorted(set(weight_map.values())):
        save_file({n: t.contiguous() for n, t in checkpoint.stored.items() if weight_map[n] == shard}, path / shard)
    (path / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path


def repack(
    source: Path, destination: Path, *, remove: bool = False, on_bytes: Callable[[int], None] = lambda _: None
) -> Path:
    """The whole of it with the models' own Repacker; what is left of an earlier attempt is continued."""
    from dspark_models.expert_bank.plan import RepackPlan
    from dspark_models.expert_bank.repacker import Repacker, tidy, unfinished_plan
    from dspark_models.shards import read_header, shard_files

    plan = unfinished_plan(destination)
    if plan is None and not any(source.glob("*.safetensors")):
        tidy(destination)
        return destination
    if plan is None:
        headers = {shard.name: read_header(shard) for shard in shard_files(source)}
        plan = RepackPlan.of(headers, origin="here", name="tiny")
    repacker = Repacker(destination, plan)
    repacker.take_companions([source / "config.json"])
    for shard in plan.shards:
        path = source / shard.name
        if path.exists() or not repacker.is_done(shard.name):
            repacker.add_shard(path, on_bytes=on_bytes, remove=Path.unlink if remove else None)
    repacker.finish()
    return destination


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file of a folder, hidden ones too, with the hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
