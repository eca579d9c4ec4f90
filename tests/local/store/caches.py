"""The hub's cache written by hand, after its documentation: blobs, snapshots of links, refs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

COMMIT = "1111111111111111111111111111111111111111"
OTHER_COMMIT = "2222222222222222222222222222222222222222"
FLASH = "deepseek-ai/DeepSeek-V4-Flash-0731"


def weights(*names: str, value: int = 0, size: int = 4096) -> bytes:
    """A safetensors file of one byte tensor a name."""
    return save({name: np.full(size, value, np.uint8) for name in names})


def model_files(value: int = 0) -> dict[str, bytes]:
    """A DeepSeek-V4 checkpoint with a DSpark draft, as far as names and headers go."""
    shards = {
        "model-00001-of-00002.safetensors": weights("embed.weight", value=value),
        "model-00002-of-00002.safetensors": weights("mtp.0.main_proj.weight", value=value + 1),
    }
    names = {"embed.weight": "model-00001-of-00002.safetensors"}
    names["mtp.0.main_proj.weight"] = "model-00002-of-00002.safetensors"
    return {
        "config.json": json.dumps({"model_type": "deepseek_v4", "num_nextn_predict_layers": 1}).encode(),
        "model.safetensors.index.json": json.dumps({"weight_map": names}).encode(),
        "README.md": b"a model",
        **shards,
    }


def blob_name(path: str, content: bytes) -> str:
    """How the hub names the content: large files by sha256, small ones as git does."""
    if path.endswith((".safetensors", ".gguf")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def put(root: Path, repo: str, files: Mapping[str, bytes], commit: str = COMMIT, ref: str | None = "main") -> Path:
    """Add a snapshot; returns its folder."""
    folder = root / "--".join(["models", *repo.split("/")])
    snapshot = folder / "snapshots" / commit
    for path, content in files.items():
        blob = folder / "blobs" / blob_name(path, content)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref is not None:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / ref).write_text(commit)
    return snapshot


def bytes_in(*folders: Path) -> int:
    """Bytes of all files in the folders, links not followed."""
    return sum(
        file.stat().st_size
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink()
    )
