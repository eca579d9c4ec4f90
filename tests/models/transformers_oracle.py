"""Logits by the transformers implementation, in float32 from the dequantised weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.models.checkpoints import Checkpoint, write_shards


class TransformersOracle:
    """DeepseekV4ForCausalLM loaded from a float32 copy under the official names."""

    def __init__(self, checkpoint: Checkpoint, directory: Path) -> None:
        from transformers import AutoModelForCausalLM

        loader: Any = AutoModelForCausalLM
        directory.mkdir(parents=True, exist_ok=True)
        config = {k: v for k, v in checkpoint.config.items() if k not in ("quantization_config", "expert_dtype")}
        (directory / "config.json").write_text(json.dumps({**config, "torch_dtype": "float32"}))
        dense = checkpoint.dense(torch.float32)
        write_shards(directory, {name: t for name, t in dense.items() if not name.startswith("mtp.")})
        model, info = loader.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not info["missing_keys"], info["missing_keys"]
        assert not info["unexpected_keys"], info["unexpected_keys"]
        self._model: Any = model.float().eval()

    def logits(self, token_ids: torch.Tensor) -> torch.Tensor:
        """token_ids [T] -> [T, V] float32, one pass without a cache."""
        with torch.inference_mode():
            output = self._model(input_ids=token_ids[None], use_cache=False)
        return torch.as_tensor(output.logits[0])
