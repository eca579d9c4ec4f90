"""Writing and reading checkpoints in the official format."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from dspark_models.training.names import official_tensors, training_tensors
from dspark_models.training.shape import Shape, official_config
from dspark_models.training.storage import decode, encode


def write_checkpoint(folder: Path, shape: Shape, target: dict[str, Tensor], draft: dict[str, Tensor] | None) -> int:
    """Write config, target shard, draft shard and index; return the bytes of all tensors.

    ``target`` and ``draft`` are state dicts of the training modules.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = [official_tensors(target)]
    if draft is not None:
        shards.append(official_tensors(draft))
    total = 0
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        stored: dict[str, Tensor] = {}
        for name, value in shard.items():
            stored.update(encode(name, value))
        save_file(stored, folder / file, metadata={"format": "pt"})
        total += sum(t.numel() * t.element_size() for t in stored.values())
        weight_map.update(dict.fromkeys(stored, file))
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index)
    config = official_config(shape)
    if draft is None:
        for key in [k for k in config if k.startswith("dspark_") or k == "n_mtp_layers"]:
            del config[key]
    write_json(folder / "config.json", config)
    generation = {
        "_from_model_config": True, "bos_token_id": 0, "eos_token_id": 1,
        "do_sample": True, "temperature": 0.6, "top_p": 0.95,
    }  # fmt: skip
    write_json(folder / "generation_config.json", generation)
    return total


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All parameters of a checkpoint, dequantised, under their training names."""
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("model-*.safetensors")):
        tensors.update(load_file(file))
    names = [n for n in tensors if not n.endswith(".scale")]
    return training_tensors({n: decode(n, tensors) for n in names})


def write_json(path: Path, value: object) -> None:
    """Indented UTF-8 JSON with a final newline."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
