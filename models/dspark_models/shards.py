"""The files of a checkpoint as they lie on disk: JSON objects and the headers of safetensors shards.

Reads no tensor data; what is damaged is a CheckpointError that names the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dspark_models.errors import CheckpointError

INDEX_NAME = "model.safetensors.index.json"
REFETCH = "Download this file again; the other files can stay."
HEADER_LENGTH_BYTES = 8
"""A shard begins with the length of its header, little-endian."""
# A header of Flash's largest shard is under 1 MB; anything near this is not a safetensors file.
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies and what it is, from a header. dtype is the safetensors name, such as F8_E4M3.

    offset is where its nbytes begin in the file `shard`.
    """

    shard: Path
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    offset: int


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the checkpoint; CheckpointError names the file, line and column."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.name} is missing in {path.parent}.", hint=REFETCH) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text.", hint=REFETCH) from error
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.", hint=REFETCH
        ) from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds a JSON {type(data).__name__}, not an object.", hint=REFETCH)
    return data


def parse_header(shard: Path, text: bytes) -> dict[str, TensorInfo]:
    """All tensors of a shard from the JSON text of its header, which may have come here without the shard's data.

    CheckpointError when it is no such text.
    """
    try:
        header = json.loads(text)
        return {
            name: TensorInfo(
                shard,
                tuple(entry["shape"]),
                entry["dtype"],
                entry["data_offsets"][1] - entry["data_offsets"][0],
                HEADER_LENGTH_BYTES + len(text) + entry["data_offsets"][0],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(f"The header of {shard} is damaged.", hint=REFETCH) from error


def read_header(shard: Path) -> dict[str, TensorInfo]:
    """All tensors of one shard; refuses a file whose size does not match what its header promises."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            header_length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
            if size < HEADER_LENGTH_BYTES or not 2 <= header_length <= min(size, _MAX_HEADER_BYTES):
                raise CheckpointError(f"{shard} is no safetensors file ({size:,} bytes).", hint=REFETCH)
            infos = parse_header(shard, file.read(header_length))
    except FileNotFoundError as error:
        raise CheckpointError(f"Shard {shard.name} is missing in {shard.parent}.", hint=REFETCH) from error
    except OSError as error:
        raise CheckpointError(f"{shard} cannot be read: {error.strerror}.") from error
    payload_start = HEADER_LENGTH_BYTES + header_length
    expected = max((info.offset + info.nbytes for info in infos.values()), default=payload_start)
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise CheckpointError(f"{shard} is {state}: {size:,} bytes, its header needs {expected:,}.", hint=REFETCH)
    return infos


def shard_files(path: Path) -> list[Path]:
    """The shards that the index of a directory names, or all it has. CheckpointError when there are none."""
    if (path / INDEX_NAME).is_file():
        weight_map = read_json(path / INDEX_NAME).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
            raise CheckpointError(f"{path / INDEX_NAME} has no usable weight_map.", hint=REFETCH)
        names = sorted(set(weight_map.values()))
        if any("/" in name or "\\" in name or name.startswith(".") for name in names):
            raise CheckpointError(f"{path / INDEX_NAME} points outside its own directory.", hint=REFETCH)
        return [path / name for name in names]
    shards = sorted(path.glob("*.safetensors"))
    if shards:
        return shards
    pickles = sorted(p.name for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in path.glob(ending))
    if pickles:
        raise CheckpointError(
            f"{path} holds pickled weights ({pickles[0]}), which can run any code and are never loaded.",
            hint="Get the safetensors files of this model.",
        )
    raise CheckpointError(f"{path} holds no safetensors file.", hint="Download the weights into this directory.")
