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
_HEADER_LENGTH_BYTES = 8
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


def read_header(shard: Path) -> dict[str, TensorInfo]:
    """All tensors of one shard; refuses a file whose size does not match what its header promises."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            header_length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
            if size < _HEADER_LENGTH_BYTES or not 2 <= header_length <= min(size, _MAX_HEADER_BYTES):
                raise CheckpointError(f"{shard} is no safetensors file ({size:,} bytes).", hint=REFETCH)
            header = json.loads(file.read(header_length))
    except FileNotFoundError as error:
        raise CheckpointError(f"Shard {shard.name} is missing in {shard.parent}.", hint=REFETCH) from error
    except OSError as error:
        raise CheckpointError(f"{shard} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CheckpointError(f"The header of {shard} is damaged.", hint=REFETCH) from error
    try:
        infos = {
            name: TensorInfo(
                shard,
                tuple(entry["shape"]),
                entry["dtype"],
                entry["data_offsets"][1] - entry["data_offsets"][0],
                _HEADER_LENGTH_BYTES + header_length + entry["data_offsets"][0],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
        payload = max((e["data_offsets"][1] for n, e in header.items() if n != "__metadata__"), default=0)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(f"The header of {shard} is damaged.", hint=REFETCH) from error
    expected = _HEADER_LENGTH_BYTES + header_length + payload
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise CheckpointError(f"{shard} is {state}: {size:,} bytes, its header needs {expected:,}.", hint=REFETCH)
    return infos
