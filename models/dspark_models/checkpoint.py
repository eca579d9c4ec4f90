"""A checkpoint directory: its config and its safetensors shards, memory-mapped, never copied as a whole.

Knows files, headers and tensors, nothing of what a tensor is for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from dspark_models.errors import CheckpointError, NotAModelError

INDEX_NAME = "model.safetensors.index.json"
_REFETCH = "Download this file again; the other files can stay."
_HEADER_LENGTH_BYTES = 8
# A header of Flash's largest shard is under 1 MB; anything near this is not a safetensors file.
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies and what it is, from a shard's header. dtype is the safetensors name, such as F8_E4M3."""

    shard: Path
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the checkpoint; CheckpointError names the file, line and column."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.name} is missing in {path.parent}.", hint=_REFETCH) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text.", hint=_REFETCH) from error
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.", hint=_REFETCH
        ) from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds a JSON {type(data).__name__}, not an object.", hint=_REFETCH)
    return data


def _read_header(shard: Path) -> dict[str, TensorInfo]:
    """All tensors of one shard; refuses a file whose size does not match what its header promises."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            header_length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
            if size < _HEADER_LENGTH_BYTES or not 2 <= header_length <= min(size, _MAX_HEADER_BYTES):
                raise CheckpointError(f"{shard} is no safetensors file ({size:,} bytes).", hint=_REFETCH)
            header = json.loads(file.read(header_length))
    except FileNotFoundError as error:
        raise CheckpointError(f"Shard {shard.name} is missing in {shard.parent}.", hint=_REFETCH) from error
    except OSError as error:
        raise CheckpointError(f"{shard} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CheckpointError(f"The header of {shard} is damaged.", hint=_REFETCH) from error
    try:
        infos = {
            name: TensorInfo(
                shard,
                tuple(entry["shape"]),
                entry["dtype"],
                entry["data_offsets"][1] - entry["data_offsets"][0],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
        payload = max((e["data_offsets"][1] for n, e in header.items() if n != "__metadata__"), default=0)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(f"The header of {shard} is damaged.", hint=_REFETCH) from error
    expected = _HEADER_LENGTH_BYTES + header_length + payload
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise CheckpointError(f"{shard} is {state}: {size:,} bytes, its header needs {expected:,}.", hint=_REFETCH)
    return infos


class Checkpoint:
    """An opened directory: `config`, `tensors` (name -> TensorInfo) and lazily mapped data."""

    def __init__(self, path: Path, config: dict[str, Any], tensors: dict[str, TensorInfo]) -> None:
        self.path = path
        self.config = config
        self.tensors = tensors
        self._handles: dict[Path, Any] = {}

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read the config and all headers; no tensor data is touched.

        Raises NotAModelError for a directory without config.json, CheckpointError for a damaged or missing file.
        """
        path = Path(path)
        if not path.is_dir():
            what = f"{path} is a file, not a directory." if path.exists() else f"There is no directory {path}."
            raise NotAModelError(what, hint="Give the directory that holds config.json and the safetensors shards.")
        if not (path / "config.json").is_file():
            raise NotAModelError(
                f"{path} holds no model: config.json is missing.",
                hint="Give the directory that holds config.json and the safetensors files.",
            )
        config = read_json(path / "config.json")
        tensors: dict[str, TensorInfo] = {}
        for shard in cls._shards(path):
            for name, info in _read_header(shard).items():
                if name in tensors:
                    raise CheckpointError(
                        f"Tensor {name} stands in both {tensors[name].shard.name} and {shard.name}.",
                        hint="Remove the shard that does not belong to this model.",
                    )
                tensors[name] = info
        checkpoint = cls(path, config, tensors)
        checkpoint._check_index()
        return checkpoint

    @staticmethod
    def _shards(path: Path) -> list[Path]:
        if (path / INDEX_NAME).is_file():
            weight_map = read_json(path / INDEX_NAME).get("weight_map")
            if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
                raise CheckpointError(f"{path / INDEX_NAME} has no usable weight_map.", hint=_REFETCH)
            names = sorted(set(weight_map.values()))
            if any("/" in name or "\\" in name or name.startswith(".") for name in names):
                raise CheckpointError(f"{path / INDEX_NAME} points outside its own directory.", hint=_REFETCH)
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

    def _check_index(self) -> None:
        if not (self.path / INDEX_NAME).is_file():
            return
        for name, shard in read_json(self.path / INDEX_NAME)["weight_map"].items():
            if name not in self.tensors or self.tensors[name].shard.name != shard:
                raise CheckpointError(f"The index says that tensor {name} is in {shard}, it is not.", hint=_REFETCH)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(info.nbytes for info in self.tensors.values())

    def get(self, name: str) -> Tensor:
        """One tensor as a view of the mapped shard, on the CPU; its pages are read when it is used."""
        info = self.tensors[name]
        try:
            if info.shard not in self._handles:
                self._handles[info.shard] = safe_open(info.shard, framework="pt", device="cpu")
            tensor: Tensor = self._handles[info.shard].get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"Tensor {name} cannot be read from {info.shard}: {error}.", hint=_REFETCH) from error
        return tensor
