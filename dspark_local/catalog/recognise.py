"""What a directory or a config.json holds, for models that the catalog does not name.

Only config.json, the safetensors index or headers and the first bytes of a GGUF file are read; no model's code runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dspark_local.catalog.schema import DraftKind, Family, WeightFormat

_FAMILIES: dict[str, Family] = {
    "deepseek_v4": "deepseek_v4",
    "qwen3": "qwen3",
    "gemma4": "gemma4",
    "gemma4_text": "gemma4",
    "gemma4_unified": "gemma4",
}
_GGUF_FAMILIES: dict[str, Family] = {"deepseek4": "deepseek_v4", "qwen3": "qwen3", "gemma4": "gemma4"}
_GGUF_DRAFT = "dflash"  # llama.cpp's name of every block draft; DSpark is one with Markov tensors
_INDEX = "model.safetensors.index.json"
_MAX_HEADER_BYTES = 100_000_000
_GGUF_HEAD_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Recognised:
    """What it is. family is None for a GGUF draft, which does not say whose it is.

    role         "draft" is a model that only drafts for another
    draft_kind   of the draft inside a target, or of the draft itself; None when a target has none
    """

    family: Family | None
    format: WeightFormat
    role: Literal["target", "draft"]
    draft_kind: DraftKind | None


def recognise_config(config: Any, tensors: Collection[str] | None = None) -> Recognised | None:
    """What a config.json describes; None when it is no model of ours.

    tensors are the names of all tensors, where they are known: they tell the kind of a DeepSeek-V4 draft, while the
    config of a release says num_nextn_predict_layers 1 for either kind.
    """
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return None
    family = _FAMILIES.get(config["model_type"])
    if family is None:
        return None
    architectures = config.get("architectures") or []
    if any("DSpark" in str(name) for name in architectures):
        return Recognised(family, "safetensors", "draft", "dspark")
    if family != "deepseek_v4":
        return Recognised(family, "safetensors", "target", None)
    if tensors is not None:
        drafting = {name for name in tensors if name.startswith("mtp.")}
        role: Literal["target", "draft"] = "draft" if drafting and len(drafting) == len(tensors) else "target"
        kind: DraftKind | None = None
        if drafting:
            kind = "mtp" if "mtp.0.e_proj.weight" in drafting else "dspark"
        return Recognised(family, "safetensors", role, kind)
    if "dspark_block_size" in config:
        return Recognised(family, "safetensors", "target", "dspark")
    return Recognised(family, "safetensors", "target", "mtp" if config.get("num_nextn_predict_layers") else None)


def recognise_folder(folder: Path) -> Recognised | None:
    """What a directory, or one GGUF file, holds; None when it is no model of ours or cannot be read."""
    if folder.suffix == ".gguf":
        return _recognise_gguf(folder)
    config = _json(folder / "config.json")
    if config is not None:
        is_v4 = isinstance(config, dict) and config.get("model_type") == "deepseek_v4"
        return recognise_config(config, _tensor_names(folder) if is_v4 else None)
    found = [what for file in sorted(folder.rglob("*.gguf")) if (what := _recognise_gguf(file)) is not None]
    # A folder with a target and its draft is a target with a draft.
    target = next((what for what in found if what.role == "target"), None)
    if target is None:
        return found[0] if found else None
    has_draft = any(what.role == "draft" for what in found)
    return Recognised(target.family, "gguf", "target", "dspark" if has_draft else None)


def _tensor_names(folder: Path) -> set[str] | None:
    index = _json(folder / _INDEX)
    if isinstance(index, dict) and isinstance(index.get("weight_map"), dict):
        return set(index["weight_map"])
    names: set[str] = set()
    for shard in folder.glob("*.safetensors"):
        header = _safetensors_header(shard)
        if header is None:
            return None
        names.update(name for name in header if name != "__metadata__")
    return names or None


def _safetensors_header(shard: Path) -> dict[str, Any] | None:
    try:
        with shard.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length <= _MAX_HEADER_BYTES else None
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) else None


def _recognise_gguf(file: Path) -> Recognised | None:
    try:
        with file.open("rb") as stream:
            head = stream.read(_GGUF_HEAD_BYTES)
    except OSError:
        return None
    if not head.startswith(b"GGUF"):
        return None
    # Key, type 8 (a string), 8 bytes of length, text: every writer puts this key among the first.
    _, found, rest = head.partition(b"general.architecture\x08\0\0\0")
    length = int.from_bytes(rest[:8], "little")
    if not found or length > len(rest):
        return None
    architecture = rest[8 : 8 + length].decode("utf-8", "replace")
    if architecture == _GGUF_DRAFT:
        return Recognised(None, "gguf", "draft", "dspark")
    family = _GGUF_FAMILIES.get(architecture)
    return None if family is None else Recognised(family, "gguf", "target", None)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
