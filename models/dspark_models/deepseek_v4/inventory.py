"""Which tensors a V4 checkpoint must hold, with their shapes and storage dtypes.

The first dtype of each is the one that the releases store; the others are read as well.

Names: D hidden, H heads, hd head_dim, q q_lora_rank, I expert width, E experts, S streams, V vocabulary. The names
are those of the released files: no `model.` prefix, quantised weights have a sibling `.scale`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from dspark_kernels.fp4 import GROUP
from dspark_kernels.fp8 import BLOCK
from dspark_models.checkpoint import Checkpoint, TensorInfo
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.errors import CheckpointError

FLOATS = ("BF16", "F32", "F16")
WIDE_FLOATS = ("F32", "BF16", "F16")
FP8 = ("F8_E4M3",)
PACKED = ("I8", "U8")
SCALES = ("F8_E8M0",)
# -Base checkpoints keep FP8 experts with float32 block scales.
BLOCK_SCALES = ("F8_E8M0", "F32")
_MAX_LISTED = 5
_ONE_RELEASE = "The files are not all of one release of this model: download them again."


class TensorSpec(NamedTuple):
    """What a tensor must look like."""

    name: str
    shape: tuple[int, ...]
    dtypes: tuple[str, ...]


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _linear(config: DeepseekV4Config, name: str, rows: int, columns: int) -> Iterator[TensorSpec]:
    """An FP8 linear with its block scales, or a plain one where the checkpoint is not quantised."""
    if not config.quantized:
        yield TensorSpec(f"{name}.weight", (rows, columns), FLOATS)
        return
    yield TensorSpec(f"{name}.weight", (rows, columns), FP8)
    yield TensorSpec(f"{name}.scale", (_ceil_div(rows, BLOCK), _ceil_div(columns, BLOCK)), BLOCK_SCALES)


def _expert_linear(config: DeepseekV4Config, name: str, rows: int, columns: int) -> Iterator[TensorSpec]:
    if not config.experts_are_fp4:
        yield from _linear(config, name, rows, columns)
        return
    yield TensorSpec(f"{name}.weight", (rows, columns // 2), PACKED)
    yield TensorSpec(f"{name}.scale", (rows, columns // GROUP), SCALES)


def _compressor(prefix: str, hidden: int, ratio: int, dim: int, width: int) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{prefix}.ape", (ratio, width), WIDE_FLOATS)
    yield TensorSpec(f"{prefix}.wkv.weight", (width, hidden), FLOATS)
    yield TensorSpec(f"{prefix}.wgate.weight", (width, hidden), FLOATS)
    yield TensorSpec(f"{prefix}.norm.weight", (dim,), FLOATS)


def _attention(config: DeepseekV4Config, prefix: str) -> Iterator[TensorSpec]:
    hidden, heads, head_dim = config.hidden_size, config.num_attention_heads, config.head_dim
    yield TensorSpec(f"{prefix}.attn_sink", (heads,), WIDE_FLOATS)
    yield from _linear(config, f"{prefix}.wq_a", config.q_lora_rank, hidden)
    yield TensorSpec(f"{prefix}.q_norm.weight", (config.q_lora_rank,), FLOATS)
    yield from _linear(config, f"{prefix}.wq_b", heads * head_dim, config.q_lora_rank)
    yield from _linear(config, f"{prefix}.wkv", head_dim, hidden)
    yield TensorSpec(f"{prefix}.kv_norm.weight", (head_dim,), FLOATS)
    group_rows = config.o_groups * config.o_lora_rank
    yield from _linear(config, f"{prefix}.wo_a", group_rows, heads * head_dim // config.o_groups)
    yield from _linear(config, f"{prefix}.wo_b", hidden, group_rows)


def _compressed_attention(config: DeepseekV4Config, layer: int, prefix: str) -> Iterator[TensorSpec]:
    ratio, hidden = config.ratio(layer), config.hidden_size
    if not ratio:
        return
    overlap = 2 if config.is_csa(layer) else 1
    yield from _compressor(f"{prefix}.compressor", hidden, ratio, config.head_dim, overlap * config.head_dim)
    if config.is_csa(layer):
        heads, dim = config.index_n_heads, config.index_head_dim
        yield from _linear(config, f"{prefix}.indexer.wq_b", heads * dim, config.q_lora_rank)
        yield TensorSpec(f"{prefix}.indexer.weights_proj.weight", (heads, hidden), FLOATS)
        yield from _compressor(f"{prefix}.indexer.compressor", hidden, ratio, dim, 2 * dim)


def _hyper_connection(config: DeepseekV4Config, prefix: str, rows: int, scales: int) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{prefix}_fn", (rows, config.hc_mult * config.hidden_size), WIDE_FLOATS)
    yield TensorSpec(f"{prefix}_base", (rows,), WIDE_FLOATS)
    yield TensorSpec(f"{prefix}_scale", (scales,), WIDE_FLOATS)


def _moe(config: DeepseekV4Config, prefix: str, *, is_hash_routed: bool) -> Iterator[TensorSpec]:
    hidden, width, experts = config.hidden_size, config.moe_intermediate_size, config.n_routed_experts
    yield TensorSpec(f"{prefix}.gate.weight", (experts, hidden), FLOATS)
    if is_hash_routed:
        yield TensorSpec(f"{prefix}.gate.tid2eid", (config.vocab_size, config.num_experts_per_tok), ("I64", "I32"))
    else:
        yield TensorSpec(f"{prefix}.gate.bias", (experts,), WIDE_FLOATS)
    for part, rows, columns in (("w1", width, hidden), ("w2", hidden, width), ("w3", width, hidden)):
        yield from _linear(config, f"{prefix}.shared_experts.{part}", rows, columns)
        for expert in range(experts):
            yield from _expert_linear(config, f"{prefix}.experts.{expert}.{part}", rows, columns)


def _block(config: DeepseekV4Config, prefix: str, *, is_hash_routed: bool) -> Iterator[TensorSpec]:
    streams = config.hc_mult
    mix_rows = 2 * streams + streams * streams
    yield TensorSpec(f"{prefix}.attn_norm.weight", (config.hidden_size,), FLOATS)
    yield TensorSpec(f"{prefix}.ffn_norm.weight", (config.hidden_size,), FLOATS)
    yield from _attention(config, f"{prefix}.attn")
    yield from _hyper_connection(config, f"{prefix}.hc_attn", mix_rows, 3)
    yield from _hyper_connection(config, f"{prefix}.hc_ffn", mix_rows, 3)
    yield from _moe(config, f"{prefix}.ffn", is_hash_routed=is_hash_routed)


def target_tensors(config: DeepseekV4Config) -> Iterator[TensorSpec]:
    """Every tensor of the target; `mtp.*` tensors are the draft's."""
    yield TensorSpec("embed.weight", (config.vocab_size, config.hidden_size), FLOATS)
    yield TensorSpec("head.weight", (config.vocab_size, config.hidden_size), FLOATS)
    yield TensorSpec("norm.weight", (config.hidden_size,), FLOATS)
    yield from _hyper_connection(config, "hc_head", config.hc_mult, 1)
    for layer in range(config.num_hidden_layers):
        prefix = f"layers.{layer}"
        yield from _block(config, prefix, is_hash_routed=config.is_hash_routed(layer))
        yield from _compressed_attention(config, layer, f"{prefix}.attn")


def is_draft(name: str) -> bool:
    """True for tensors that belong to a draft, of whatever kind."""
    return name.startswith("mtp.")


def draft_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of all tensors of the draft in a checkpoint."""
    return sum(info.nbytes for name, info in checkpoint.tensors.items() if is_draft(name))


def draft_tensors(config: DeepseekV4Config, stages: int, found: Collection[str]) -> Iterator[TensorSpec]:
    """Every tensor of a DSpark or DFlash module with `stages` blocks; embedding and head are the target's.

    Of the Markov head and the confidence head each is there as a whole or not at all, which the names in `found` tell.
    CheckpointError for a Markov head whose rank config.json does not give.
    """
    assert config.dspark is not None, "draft_tensors needs the dspark_* fields"
    hidden, vocab = config.hidden_size, config.vocab_size
    for stage in range(stages):
        yield from _block(config, f"mtp.{stage}", is_hash_routed=False)
    yield from _linear(config, "mtp.0.main_proj", hidden, hidden * len(config.dspark.target_layer_ids))
    yield TensorSpec("mtp.0.main_norm.weight", (hidden,), FLOATS)
    last = f"mtp.{stages - 1}"
    yield TensorSpec(f"{last}.norm.weight", (hidden,), FLOATS)
    yield from _hyper_connection(config, f"{last}.hc_head", config.hc_mult, 1)
    markov, confidence = f"{last}.markov_head.", f"{last}.confidence_head."
    rank = 0
    if any(name.startswith(markov) for name in found):
        rank = config.dspark.markov_rank
        if not rank:
            raise CheckpointError(
                "The draft has a Markov head, but config.json has no dspark_markov_rank.", hint=_ONE_RELEASE
            )
        yield TensorSpec(f"{markov}markov_w1.weight", (vocab, rank), FLOATS)
        yield TensorSpec(f"{markov}markov_w2.weight", (vocab, rank), FLOATS)
    if any(name.startswith(confidence) for name in found):
        yield TensorSpec(f"{confidence}proj.weight", (1, hidden + rank), FLOATS)


def mtp_tensors(config: DeepseekV4Config) -> Iterator[TensorSpec]:
    """Every tensor of the preview's plain MTP module; embedding and head are the target's."""
    hidden = config.hidden_size
    yield from _block(config, "mtp.0", is_hash_routed=False)
    for projection in ("e_proj", "h_proj"):
        yield from _linear(config, f"mtp.0.{projection}", hidden, hidden)
    for norm in ("enorm", "hnorm", "norm"):
        yield TensorSpec(f"mtp.0.{norm}.weight", (hidden,), FLOATS)
    yield from _hyper_connection(config, "mtp.0.hc_head", config.hc_mult, 1)


def _listing(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(ordered[:_MAX_LISTED])
    return shown if len(ordered) <= _MAX_LISTED else f"{shown} and {len(ordered) - _MAX_LISTED} more"


def check_tensors(specs: Iterable[TensorSpec], found: Mapping[str, TensorInfo]) -> None:
    """Compare headers with the inventory; CheckpointError names what is missing, surplus or wrong."""
    expected = {spec.name: spec for spec in specs}
    missing, surplus = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing:
        raise CheckpointError(f"{len(missing)} tensors are missing: {_listing(missing)}.", hint=_ONE_RELEASE)
    if surplus:
        raise CheckpointError(
            f"{len(surplus)} tensors do not belong to this model: {_listing(surplus)}.", hint=_ONE_RELEASE
        )
    for name, spec in expected.items():
        info = found[name]
        if info.shape != spec.shape:
            raise CheckpointError(
                f"Tensor {name} in {info.shard.name} is {list(info.shape)}, config.json asks for {list(spec.shape)}.",
                hint=_ONE_RELEASE,
            )
        if info.dtype not in spec.dtypes:
            raise CheckpointError(
                f"Tensor {name} in {info.shard.name} has dtype {info.dtype}, expected {' or '.join(spec.dtypes)}.",
                hint=_ONE_RELEASE,
            )
