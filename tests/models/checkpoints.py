"""Writes tiny random checkpoints in the official format, and gives the weights that they stand for.

Everything that an initialiser would leave at zero or one is random: equal values hide errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file

from tests.models.formats import (
    Floats,
    dequantize_fp4_rows,
    dequantize_fp8_blocks,
    quantize_fp4_rows,
    quantize_fp8_blocks,
)

Draft = Literal["none", "mtp", "dspark", "dflash", "markov_only", "confidence_only"]
HEADS: dict[Draft, tuple[str, ...]] = {
    "dspark": ("markov", "confidence"),
    "dflash": (),
    "markov_only": ("markov",),
    "confidence_only": ("confidence",),
}
"""The drafts made of stages that share a block, and the heads that each has."""
INDEX_NAME = "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """config as written to config.json; stored: official names to tensors in their storage dtypes."""

    config: dict[str, Any]
    stored: dict[str, torch.Tensor]

    def dense(self, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
        """Official names without the scales, dequantised; tid2eid stays int64."""
        return {name: t if t.dtype == torch.int64 else t.to(dtype) for name, t in self._dequantized()}

    def _dequantized(self) -> Iterable[tuple[str, torch.Tensor]]:
        for name, tensor in self.stored.items():
            if name.endswith(".scale"):
                continue
            scale = self.stored.get(f"{name.removesuffix('.weight')}.scale")
            if scale is None:
                yield name, tensor
                continue
            codes, exponents = tensor.view(torch.uint8).numpy(), scale.view(torch.uint8).numpy()
            dequantize = dequantize_fp4_rows if tensor.dtype == torch.int8 else dequantize_fp8_blocks
            yield name, torch.from_numpy(dequantize(codes, exponents))

    def write(self, path: Path, *, tokenizer: bool = False) -> Path:
        """One shard for the embedding, one a layer or stage, one for the rest, with an index. Returns path."""
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(self.config))
        write_shards(path, self.stored)
        if tokenizer:
            write_tokenizer(path)
        return path


def shard_key(name: str) -> str:
    """Which shard a tensor goes to."""
    parts = name.split(".")
    if parts[0] in ("layers", "mtp"):
        return f"{parts[0]}.{int(parts[1]):04d}"
    return "embed" if parts[0] == "embed" else "rest"


def write_shards(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write the shards and the index that names them."""
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(shard_key(name), {})[name] = tensor.contiguous()
    weight_map: dict[str, str] = {}
    for number, key in enumerate(sorted(groups), start=1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        save_file(groups[key], path / file)
        weight_map.update(dict.fromkeys(groups[key], file))
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    (path / INDEX_NAME).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))


class _Writer:
    """Draws tensors and stores them under their official names."""

    def __init__(self, config: dict[str, Any], seed: int) -> None:
        self.config = config
        self.random = np.random.default_rng(seed)
        self.stored: dict[str, torch.Tensor] = {}

    def normal(self, *shape: int, std: float = 1.0, mean: float = 0.0) -> Floats:
        return mean + std * self.random.standard_normal(shape)

    def float32(self, name: str, values: Floats) -> None:
        self.stored[name] = torch.from_numpy(values).to(torch.float32)

    def bfloat16(self, name: str, values: Floats) -> None:
        self.stored[name] = torch.from_numpy(values).to(torch.bfloat16)

    def norm(self, name: str, size: int) -> None:
        self.bfloat16(f"{name}.weight", self.normal(size, std=0.2, mean=1.0))

    def matrix(self, rows: int, columns: int) -> Floats:
        """Wide ones are drawn smaller: sums over many inputs would cost the float32 comparison its digits."""
        return self.normal(rows, columns, std=0.1 * min(1.0, (128 / columns) ** 0.5))

    def dense(self, name: str, rows: int, columns: int, std: float | None = None) -> None:
        values = self.matrix(rows, columns) if std is None else self.normal(rows, columns, std=std)
        self.bfloat16(f"{name}.weight", values)

    def fp8(self, name: str, rows: int, columns: int) -> None:
        blocks = 2.0 ** self.random.integers(-1, 2, size=(-(-rows // 128), -(-columns // 128)))
        uneven = blocks.repeat(128, 0)[:rows].repeat(128, 1)[:, :columns]
        codes, scales = quantize_fp8_blocks(self.matrix(rows, columns) * uneven)
        self.stored[f"{name}.weight"] = torch.from_numpy(codes).view(torch.float8_e4m3fn)
        self.stored[f"{name}.scale"] = torch.from_numpy(scales).view(torch.float8_e8m0fnu)

    def fp4(self, name: str, rows: int, columns: int) -> None:
        uneven = (2.0 ** self.random.integers(-1, 2, size=(rows, columns // 32))).repeat(32, 1)
        packed, scales = quantize_fp4_rows(self.matrix(rows, columns) * uneven)
        self.stored[f"{name}.weight"] = torch.from_numpy(packed).view(torch.int8)
        self.stored[f"{name}.scale"] = torch.from_numpy(scales).view(torch.float8_e8m0fnu)

    def hyper(self, prefix: str, rows: int, scales: int) -> None:
        streams = self.config["hc_mult"] * self.config["hidden_size"]
        self.float32(f"{prefix}_fn", self.normal(rows, streams, std=0.1))
        self.float32(f"{prefix}_base", self.normal(rows, std=0.7))
        self.float32(f"{prefix}_scale", 0.5 + 0.5 * np.abs(self.normal(scales)))

    def block(self, prefix: str, ratio: int, *, hashed: bool) -> None:
        c = self.config
        hidden, heads, head_dim, rank = c["hidden_size"], c["num_attention_heads"], c["head_dim"], c["q_lora_rank"]
        streams = c["hc_mult"]
        self.norm(f"{prefix}attn_norm", hidden)
        self.norm(f"{prefix}ffn_norm", hidden)
        for part in ("attn", "ffn"):
            self.hyper(f"{prefix}hc_{part}", (2 + streams) * streams, 3)
        attn = f"{prefix}attn."
        self.float32(f"{attn}attn_sink", self.normal(heads))
        self.fp8(f"{attn}wq_a", rank, hidden)
        self.norm(f"{attn}q_norm", rank)
        self.fp8(f"{attn}wq_b", heads * head_dim, rank)
        self.fp8(f"{attn}wkv", head_dim, hidden)
        self.norm(f"{attn}kv_norm", head_dim)
        self.fp8(f"{attn}wo_a", c["o_groups"] * c["o_lora_rank"], heads * head_dim // c["o_groups"])
        self.fp8(f"{attn}wo_b", hidden, c["o_groups"] * c["o_lora_rank"])
        if ratio:
            self.compressor(f"{attn}compressor.", ratio, head_dim)
        if ratio == 4:
            self.fp8(f"{attn}indexer.wq_b", c["index_n_heads"] * c["index_head_dim"], rank)
            self.dense(f"{attn}indexer.weights_proj", c["index_n_heads"], hidden)
            self.compressor(f"{attn}indexer.compressor.", ratio, c["index_head_dim"])
        self.experts(f"{prefix}ffn.", hashed=hashed)

    def compressor(self, prefix: str, ratio: int, dim: int) -> None:
        rows = ratio if ratio == 4 else self.config.get("compress_rate_hca", 128)
        width = dim * (2 if ratio == 4 else 1)
        self.float32(f"{prefix}ape", self.normal(rows, width))
        self.dense(f"{prefix}wkv", width, self.config["hidden_size"])
        self.dense(f"{prefix}wgate", width, self.config["hidden_size"])
        self.norm(f"{prefix}norm", dim)

    def experts(self, prefix: str, *, hashed: bool) -> None:
        c = self.config
        hidden, width, count, chosen = (
            c["hidden_size"],
            c["moe_intermediate_size"],
            c["n_routed_experts"],
            c["num_experts_per_tok"],
        )
        self.dense(f"{prefix}gate", count, hidden)
        if hashed:
            table = [self.random.permutation(count)[:chosen] for _ in range(c["vocab_size"])]
            self.stored[f"{prefix}gate.tid2eid"] = torch.from_numpy(np.stack(table)).to(torch.int64)
        else:
            self.float32(f"{prefix}gate.bias", self.normal(count, std=0.3))
        for name in ("w1", "w3"):
            self.fp8(f"{prefix}shared_experts.{name}", width, hidden)
        self.fp8(f"{prefix}shared_experts.w2", hidden, width)
        for expert in range(count):
            self.fp4(f"{prefix}experts.{expert}.w1", width, hidden)
            self.fp4(f"{prefix}experts.{expert}.w3", width, hidden)
            self.fp4(f"{prefix}experts.{expert}.w2", hidden, width)

    def block_draft(self, heads: tuple[str, ...]) -> None:
        c = self.config
        hidden, vocab, rank = c["hidden_size"], c["vocab_size"], c.get("dspark_markov_rank", 0)
        stages = len(c["compress_ratios"]) - c["num_hidden_layers"]
        for stage in range(stages):
            self.block(f"mtp.{stage}.", 0, hashed=False)
        self.fp8("mtp.0.main_proj", hidden, hidden * len(c["dspark_target_layer_ids"]))
        self.norm("mtp.0.main_norm", hidden)
        last = f"mtp.{stages - 1}."
        self.norm(f"{last}norm", hidden)
        self.hyper(f"{last}hc_head", c["hc_mult"], 1)
        if "markov" in heads:
            self.dense(f"{last}markov_head.markov_w1", vocab, rank, std=0.5)
            self.dense(f"{last}markov_head.markov_w2", vocab, rank, std=0.5)
        if "confidence" in heads:
            self.dense(f"{last}confidence_head.proj", 1, hidden + rank, std=0.02)

    def plain_mtp(self) -> None:
        hidden = self.config["hidden_size"]
        self.block("mtp.0.", 0, hashed=False)
        for name in ("e_proj", "h_proj"):
            self.fp8(f"mtp.0.{name}", hidden, hidden)
        for name in ("enorm", "hnorm", "norm"):
            self.norm(f"mtp.0.{name}", hidden)
        self.hyper("mtp.0.hc_head", self.config["hc_mult"], 1)


def complete_config(config: dict[str, Any], draft: Draft, stages: int) -> dict[str, Any]:
    """The given layers, with the trailing zeros and the dspark_* fields that go with `draft`."""
    layers = config["num_hidden_layers"]
    trailing = {"none": 0, "mtp": 1}.get(draft, stages)
    config = {**config, "compress_ratios": [*config["compress_ratios"][:layers], *[0] * trailing]}
    if draft not in HEADS:
        return config
    rank = {"dspark_markov_rank": 32} if "markov" in HEADS[draft] else {}
    return {
        "dspark_block_size": 5,
        **rank,
        "dspark_noise_token_id": config["vocab_size"] - 3,
        "dspark_target_layer_ids": [0, layers - 2, layers - 1],
        **config,
    }


def _write_all(writer: _Writer, draft: Draft) -> None:
    config = writer.config
    writer.dense("embed", config["vocab_size"], config["hidden_size"])
    writer.dense("head", config["vocab_size"], config["hidden_size"])
    writer.norm("norm", config["hidden_size"])
    writer.hyper("hc_head", config["hc_mult"], 1)
    for layer in range(config["num_hidden_layers"]):
        hashed = layer < config["num_hash_layers"]
        writer.block(f"layers.{layer}.", config["compress_ratios"][layer], hashed=hashed)
    if draft in HEADS:
        writer.block_draft(HEADS[draft])
    elif draft == "mtp":
        writer.plain_mtp()


def random_checkpoint(config: dict[str, Any], seed: int = 0, *, draft: Draft = "none", stages: int = 3) -> Checkpoint:
    """config lists one compress ratio a layer; the trailing zeros and the dspark_* fields follow from `draft`."""
    writer = _Writer(complete_config(config, draft, stages), seed)
    _write_all(writer, draft)
    return Checkpoint(writer.config, writer.stored)


class _ShapeWriter(_Writer):
    """Keeps shapes and dtypes and draws nothing."""

    def normal(self, *shape: int, std: float = 1.0, mean: float = 0.0) -> Floats:
        return np.broadcast_to(np.float64(mean + std), shape)

    def float32(self, name: str, values: Floats) -> None:
        self.stored[name] = torch.empty(values.shape, dtype=torch.float32, device="meta")

    def bfloat16(self, name: str, values: Floats) -> None:
        self.stored[name] = torch.empty(values.shape, dtype=torch.bfloat16, device="meta")

    def fp8(self, name: str, rows: int, columns: int) -> None:
        scales = (-(-rows // 128), -(-columns // 128))
        self.stored[f"{name}.weight"] = torch.empty(rows, columns, dtype=torch.float8_e4m3fn, device="meta")
        self.stored[f"{name}.scale"] = torch.empty(scales, dtype=torch.float8_e8m0fnu, device="meta")

    def fp4(self, name: str, rows: int, columns: int) -> None:
        self.stored[f"{name}.weight"] = torch.empty(rows, columns // 2, dtype=torch.int8, device="meta")
        self.stored[f"{name}.scale"] = torch.empty(rows, columns // 32, dtype=torch.float8_e8m0fnu, device="meta")


def tensor_shapes(config: dict[str, Any], *, draft: Draft, stages: int = 3) -> Checkpoint:
    """As random_checkpoint, but `stored` holds shapes and dtypes alone (tensors without storage)."""
    writer = _ShapeWriter(complete_config(config, draft, stages), seed=0)
    _write_all(writer, draft)
    return Checkpoint(writer.config, writer.stored)


SPECIAL_TOKENS = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<think>",
    "</think>",
    "｜DSML｜",
    "<｜latest_reminder｜>",
)


def write_tokenizer(path: Path) -> None:
    """tokenizer.json of a byte-level BPE without merges: special tokens from id 0 on, then the 256 bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.save(str(path / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "bos_token": SPECIAL_TOKENS[0],
        "eos_token": SPECIAL_TOKENS[1],
        "pad_token": SPECIAL_TOKENS[1],
        "model_max_length": 1048576,
    }
    (path / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False))
