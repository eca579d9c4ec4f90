"""Bytes of a V4 model's weights and caches, counted without loading anything.

Weights come from the tensor inventory with the dtypes that the releases store, or from an opened checkpoint's headers.
Caches are counted from the same row formats and spans that cache.py, the draft's stages and the MTP drafter allocate
with; the parts have the names of bytes_held().
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

import torch

from dspark_models.checkpoint import Checkpoint
from dspark_models.deepseek_v4.cache import REWIND_SPAN, IndexFormat, KVFormat
from dspark_models.deepseek_v4.config import DeepseekV4Config
from dspark_models.deepseek_v4.inventory import draft_tensors, is_draft, mtp_tensors, target_tensors
from dspark_models.numerics import Numerics
from dspark_models.weights import EXPANDED_CACHE_BYTES, Head

DraftKind = Literal["none", "mtp", "dspark"]
DSPARK_STAGES = 3
"""Stages of every released DSpark module; config.json does not say."""

_ITEM_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1, "F8_E8M0": 1, "I8": 1, "U8": 1, "I32": 4, "I64": 8}
_EXPERTS = ".ffn.experts."
# Small matrices that are read as they are stored, row by row or in float32 each time: never expanded and kept.
_NEVER_KEPT = ("embed.weight", "ffn.gate.weight", "markov_w1.weight", "markov_w2.weight", "confidence_head.proj.weight")


class _Stored(NamedTuple):
    """A tensor as a file holds it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class UnitBytes:
    """One unit of a checkpoint: `embed`, `head` (with the final norm and hc_head), `layers.N` or `mtp.N`.

    lookup is the part of dense that is read row by row: embeddings, and the first half of a Markov head.
    """

    name: str
    routed: int
    dense: int
    lookup: int

    @property
    def total(self) -> int:
        """All bytes of the unit."""
        return self.routed + self.dense


@dataclass(frozen=True, slots=True)
class WeightFootprint:
    """Bytes of all units, in the order of the inventory; expanded bounds what a loaded model keeps besides them."""

    units: tuple[UnitBytes, ...]
    expert_bytes: int
    draft_expert_bytes: int
    expanded: int

    def unit(self, name: str) -> UnitBytes:
        """The unit of that name; KeyError when there is none."""
        for unit in self.units:
            if unit.name == name:
                return unit
        raise KeyError(name)

    @property
    def layers(self) -> tuple[UnitBytes, ...]:
        """The target's layers."""
        return tuple(unit for unit in self.units if unit.name.startswith("layers."))

    @property
    def stages(self) -> tuple[UnitBytes, ...]:
        """The draft's stages, empty without a draft."""
        return tuple(unit for unit in self.units if is_draft(f"{unit.name}."))

    @property
    def target(self) -> int:
        """Bytes of everything but the draft."""
        return sum(unit.total for unit in self.units) - self.draft

    @property
    def draft(self) -> int:
        """Bytes of the draft."""
        return sum(unit.total for unit in self.stages)


def release_footprint(
    config: DeepseekV4Config, draft: DraftKind = "none", numerics: Numerics | None = None, stages: int = DSPARK_STAGES
) -> WeightFootprint:
    """What a release with this config.json stores. ValueError for a DSpark draft without its dspark_* fields."""
    return _footprint(_release_tensors(config, draft, stages), numerics or Numerics())


def checkpoint_footprint(checkpoint: Checkpoint, numerics: Numerics | None = None) -> WeightFootprint:
    """What an opened checkpoint stores, a draft in it included."""
    stored = (_Stored(name, info.shape, info.dtype, info.nbytes) for name, info in checkpoint.tensors.items())
    return _footprint(stored, numerics or Numerics())


def cache_bytes(config: DeepseekV4Config, numerics: Numerics, *, context: int, sequences: int) -> dict[str, int]:
    """Bytes of the target's caches by part, as DeepseekV4Target.bytes_held() counts them."""
    totals = {"window": 0, "compressed": 0, "index": 0, "compressor_state": 0}
    latent_row = _row_bytes(KVFormat(config.head_dim, config.qk_rope_head_dim, numerics).row)
    index_row = _row_bytes(IndexFormat(config.index_head_dim, numerics).row) if _has_indexer(config) else 0
    for layer in range(config.num_hidden_layers):
        totals["window"] += (config.sliding_window + REWIND_SPAN) * latent_row
        ratio = config.ratio(layer)
        if not ratio:
            continue
        entries = max(context // ratio, 1)
        overlap = 2 if config.is_csa(layer) else 1
        totals["compressed"] += entries * latent_row
        totals["compressor_state"] += _raw_bytes(overlap * ratio, overlap * config.head_dim)
        if config.is_csa(layer):
            totals["index"] += entries * index_row
            totals["compressor_state"] += _raw_bytes(2 * ratio, 2 * config.index_head_dim)
    return {part: sequences * nbytes for part, nbytes in totals.items()}


def draft_cache_bytes(
    config: DeepseekV4Config, numerics: Numerics, draft: DraftKind, *, sequences: int, stages: int = DSPARK_STAGES
) -> dict[str, int]:
    """Bytes of the draft's context rows, as the drafters' bytes_held() counts them; empty without a draft."""
    if draft == "none":
        return {}
    latent_row = _row_bytes(KVFormat(config.head_dim, config.qk_rope_head_dim, numerics).row)
    context = (config.sliding_window + REWIND_SPAN) * latent_row
    if draft == "dspark":
        return {"draft_context": sequences * stages * context}
    streams = (REWIND_SPAN + 1) * config.hc_mult * config.hidden_size * numerics.dtype.itemsize
    return {"draft_context": sequences * (context + streams)}


def draft_kind(checkpoint: Checkpoint) -> tuple[DraftKind, int]:
    """(kind, stages) of the draft among a checkpoint's tensors; ("none", 0) without one."""
    names = [name for name in checkpoint.tensors if is_draft(name)]
    stages = len({name.split(".")[1] for name in names})
    if not stages:
        return "none", 0
    return ("mtp" if "mtp.0.e_proj.weight" in checkpoint.tensors else "dspark"), stages


def _release_tensors(config: DeepseekV4Config, draft: DraftKind, stages: int) -> Iterator[_Stored]:
    specs = list(target_tensors(config))
    if draft == "mtp":
        specs += mtp_tensors(config)
    elif draft == "dspark":
        if config.dspark is None:
            raise ValueError("a DSpark draft needs the dspark_* fields of its config.json")
        last = f"mtp.{stages - 1}"
        heads = [f"{last}.markov_head."] if config.dspark.markov_rank else []
        specs += draft_tensors(config, stages, [*heads, f"{last}.confidence_head."])
    for spec in specs:
        dtype = spec.dtypes[0]
        yield _Stored(spec.name, spec.shape, dtype, prod(spec.shape) * _ITEM_BYTES[dtype])


def _footprint(tensors: Iterable[_Stored], numerics: Numerics) -> WeightFootprint:
    routed: dict[str, int] = {}
    dense: dict[str, int] = {}
    lookup: dict[str, int] = {}
    experts = {False: 0, True: 0}
    expanded = 0
    for tensor in tensors:
        unit = _unit(tensor.name)
        for counts in (routed, dense, lookup):
            counts.setdefault(unit, 0)
        if _EXPERTS in tensor.name:
            routed[unit] += tensor.nbytes
            # Experts of one checkpoint are all alike; the first one of the first block is measured.
            if tensor.name.startswith(("layers.0.ffn.experts.0.", "mtp.0.ffn.experts.0.")):
                experts[is_draft(tensor.name)] += tensor.nbytes
            continue
        dense[unit] += tensor.nbytes
        expanded += _expanded_bytes(tensor, numerics.dtype)
        if tensor.name == "embed.weight" or tensor.name.endswith(("markov_w1.weight", "tid2eid")):
            lookup[unit] += tensor.nbytes
    units = tuple(UnitBytes(name, routed[name], dense[name], lookup[name]) for name in dense)
    return WeightFootprint(units, experts[False], experts[True], min(expanded, EXPANDED_CACHE_BYTES))


def _unit(name: str) -> str:
    parts = name.split(".")
    if parts[0] in ("layers", "mtp"):
        return ".".join(parts[:2])
    return "embed" if parts[0] == "embed" else "head"


def _expanded_bytes(tensor: _Stored, dtype: torch.dtype) -> int:
    """What a matrix takes when ExpandedCache keeps it in the computing dtype; compressors and the head use float32."""
    if len(tensor.shape) != 2 or not tensor.name.endswith(".weight") or tensor.name.endswith(_NEVER_KEPT):
        return 0
    is_head = tensor.name == "head.weight"
    if is_head and tensor.shape[0] * tensor.shape[1] * 4 > Head.SLICE_BYTES:
        return 0
    width = 4 if is_head or "compressor." in tensor.name else dtype.itemsize
    is_kept_as_stored = tensor.dtype in ("BF16", "F16", "F32") and _ITEM_BYTES[tensor.dtype] == width
    return 0 if is_kept_as_stored else prod(tensor.shape) * width


def _has_indexer(config: DeepseekV4Config) -> bool:
    return any(config.is_csa(layer) for layer in range(config.num_hidden_layers))


def _raw_bytes(lookback: int, width: int) -> int:
    return (lookback + REWIND_SPAN) * 2 * width * torch.float32.itemsize


def _row_bytes(row: tuple[int, torch.dtype]) -> int:
    return row[0] * row[1].itemsize
