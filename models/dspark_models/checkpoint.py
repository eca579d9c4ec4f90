"""A checkpoint directory: its config, safetensors shards and expert banks, memory-mapped, never copied as a whole.

Knows files, headers and tensors, nothing of what a tensor is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from dspark_models.errors import CheckpointError, NotAModelError
from dspark_models.expert_bank.bank import ExpertBank
from dspark_models.read_ahead import ReadAhead
from dspark_models.shards import INDEX_NAME, REFETCH, TensorInfo, read_header, read_json, shard_files

__all__ = ["Checkpoint", "TensorInfo", "read_json"]


class Checkpoint:
    """An opened directory: `config`, `tensors` (name -> TensorInfo) and lazily mapped data."""

    def __init__(
        self, path: Path, config: dict[str, Any], tensors: dict[str, TensorInfo], bank: ExpertBank | None = None
    ) -> None:
        self.path = path
        self.config = config
        self.tensors = tensors
        self.bank = bank
        self._handles: dict[Path, Any] = {}
        self._ahead = ReadAhead()

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read the config and all headers; no tensor data is touched.

        Raises NotAModelError for a directory without config.json, CheckpointError for a damaged or missing file.
        """
        path = Path(path)
        if not path.is_dir():
            what = f"{path} is a file, not a directory." if path.exists() else f"There is no directory {path}."
            raise NotAModelError(what, hint="Give the directory that holds config.json and the safetensors shards.")
        bank = ExpertBank.open(path)
        if not (path / "config.json").is_file():
            raise NotAModelError(
                f"{path} holds no model: config.json is missing.",
                hint="Give the directory that holds config.json and the safetensors files.",
            )
        config = read_json(path / "config.json")
        tensors: dict[str, TensorInfo] = {}
        for shard in shard_files(path):
            for name, info in read_header(shard).items():
                cls._add(tensors, name, info)
        if bank is not None:
            for name, info in bank.tensors().items():
                cls._add(tensors, name, info)
        checkpoint = cls(path, config, tensors, bank)
        checkpoint._check_index()
        return checkpoint

    @staticmethod
    def _add(tensors: dict[str, TensorInfo], name: str, info: TensorInfo) -> None:
        if name in tensors:
            raise CheckpointError(
                f"Tensor {name} stands in both {tensors[name].shard.name} and {info.shard.name}.",
                hint="Remove the shard that does not belong to this model.",
            )
        tensors[name] = info

    def _check_index(self) -> None:
        if not (self.path / INDEX_NAME).is_file():
            return
        for name, shard in read_json(self.path / INDEX_NAME)["weight_map"].items():
            if name not in self.tensors or self.tensors[name].shard.name != shard:
                raise CheckpointError(f"The index says that tensor {name} is in {shard}, it is not.", hint=REFETCH)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(info.nbytes for info in self.tensors.values())

    def read_ahead(self, names: Iterable[str]) -> None:
        """Have the system read these tensors, as they are about to be used; those the checkpoint lacks are ignored."""
        self._ahead.ask(self.tensors[name] for name in names if name in self.tensors)

    def get(self, name: str) -> Tensor:
        """One tensor as a view of the mapped shard, on the CPU; its pages are read when it is used."""
        info = self.tensors[name]
        if self.bank is not None and self.bank.holds(info):
            return self.bank.view(info)
        try:
            if info.shard not in self._handles:
                self._handles[info.shard] = safe_open(info.shard, framework="pt", device="cpu")
            tensor: Tensor = self._handles[info.shard].get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"Tensor {name} cannot be read from {info.shard}: {error}.", hint=REFETCH) from error
        return tensor
