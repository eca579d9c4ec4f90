"""Reading experts from their banks: every tensor a view of a mapped file, every expert one run of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from dspark_models.errors import CheckpointError
from dspark_models.expert_bank.index import FOLDER, BankBlock, BankIndex, read_index
from dspark_models.expert_bank.layout import ExpertPart
from dspark_models.shards import TensorInfo

_TORCH_DTYPES = {
    "I8": torch.int8,
    "U8": torch.uint8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
}


class Record(NamedTuple):
    """Where one expert lies: nbytes and offset are multiples of a page, fit for direct I/O."""

    path: Path
    offset: int
    nbytes: int


class ExpertBank:
    """The banks of a repacked folder, opened; nothing is read before it is asked for."""

    def __init__(self, folder: Path, index: BankIndex) -> None:
        self.folder = folder / FOLDER
        self._blocks: dict[str, BankBlock] = {bank.layout.block: bank for bank in index.blocks}
        self._files = {self.folder / bank.file: bank.layout.nbytes for bank in index.blocks}
        self._mapped: dict[Path, Tensor] = {}

    @classmethod
    def open(cls, folder: Path) -> ExpertBank | None:
        """The banks of a model folder; None if it has none. CheckpointError for what is damaged or half-finished."""
        index = read_index(folder)
        return None if index is None else cls(folder, index)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks that have a bank, such as `layers.3` and `mtp.0`."""
        return tuple(self._blocks)

    def tensors(self) -> dict[str, TensorInfo]:
        """All tensors in the banks under their official names."""
        return {
            of.tensor: bank.layout.place(self.folder, of)
            for block, bank in self._blocks.items()
            for expert in range(bank.layout.experts)
            for of in (ExpertPart(block, expert, part.name) for part in bank.layout.parts)
        }

    def holds(self, info: TensorInfo) -> bool:
        """Whether a tensor is in one of these banks."""
        return info.shard in self._files

    def view(self, info: TensorInfo) -> Tensor:
        """A tensor of the banks as a view of the mapped file, on the CPU; CheckpointError when it cannot be mapped."""
        mapped = self._mapped.get(info.shard)
        if mapped is None:
            mapped = self._mapped[info.shard] = self._map(info.shard)
        raw = mapped[info.offset : info.offset + info.nbytes]
        return raw.view(_TORCH_DTYPES[info.dtype]).view(info.shape)

    def _map(self, path: Path) -> Tensor:
        nbytes = self._files[path]
        try:
            # The same private mapping as safetensors makes.
            storage = cast(torch.UntypedStorage, torch.UntypedStorage.from_file(str(path), False, nbytes))
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f"{path} cannot be mapped: {error}.") from error
        return torch.empty(0, dtype=torch.uint8).set_(storage)

    def record(self, block: str, expert: int) -> Record:
        """Where the expert lies. KeyError for a block without a bank, IndexError for a number beyond its experts."""
        bank = self._blocks[block]
        if not 0 <= expert < bank.layout.experts:
            raise IndexError(f"{block} has {bank.layout.experts} experts, number {expert} was asked for")
        return Record(self.folder / bank.file, expert * bank.layout.stride, bank.layout.stride)
