"""Where every part of an expert stands in a bank file.

A bank holds the routed experts of one block as records of equal length, each starting on a page, so that one expert is
one read, also past the page cache. Within a record the parts stand in the order in which they are used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from dspark_models.errors import CheckpointError
from dspark_models.shards import TensorInfo

PAGE = 4096
PART_ALIGNMENT = 64
"""Parts start on a cache line; views of any dtype need no less."""
PARTS = ("w1.weight", "w1.scale", "w3.weight", "w3.scale", "w2.weight", "w2.scale")
_NUMBER = r"(?:0|[1-9]\d{0,5})"
_BLOCK = rf"(?:layers|mtp)\.{_NUMBER}"
BLOCK_PATTERN = f"^{_BLOCK}$"
DTYPE_BYTES = {"I8": 1, "U8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "BF16": 2, "F16": 2, "F32": 4}
_EXPERT = re.compile(rf"({_BLOCK})\.ffn\.experts\.({_NUMBER})\.(w[123]\.(?:weight|scale))")
_ONE_RELEASE = "The files are not all of one release of this model: download them again."

Size = Annotated[int, Field(gt=0)]


class ExpertPart(NamedTuple):
    """What a tensor of a routed expert is: block such as `layers.3`, expert number, part such as `w1.scale`."""

    block: str
    expert: int
    part: str

    @property
    def tensor(self) -> str:
        """The official name of the tensor."""
        return f"{self.block}.ffn.experts.{self.expert}.{self.part}"

    @classmethod
    def of(cls, tensor: str) -> ExpertPart | None:
        """Take an official name apart; None for a tensor that belongs to no routed expert."""
        match = _EXPERT.fullmatch(tensor)
        return cls(match[1], int(match[2]), match[3]) if match else None


class OnDisk(BaseModel):
    """A record in one of our JSON files: exact types, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Part(OnDisk):
    """One tensor of an expert: safetensors dtype, shape and the byte where it starts in the record."""

    name: str
    dtype: str
    shape: tuple[Size, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


class BlockLayout(OnDisk):
    """The bank of one block: `experts` records of `stride` bytes."""

    block: Annotated[str, Field(pattern=BLOCK_PATTERN)]
    experts: Size
    stride: int
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, block: str, experts: int, parts: Mapping[str, tuple[str, tuple[int, ...]]]) -> Self:
        """Lay out a block whose experts each have these parts, name -> (dtype, shape).

        CheckpointError for a dtype or a set of parts that no expert of this format has.
        """
        if {"w1.weight", "w3.weight", "w2.weight"} - parts.keys() or parts.keys() - set(PARTS):
            raise CheckpointError(
                f"The experts of {block} consist of {', '.join(sorted(parts)) or 'nothing'}: that is no expert.",
                hint=_ONE_RELEASE,
            )
        offset, placed = 0, []
        for name in PARTS:
            if name not in parts:
                continue
            dtype, shape = parts[name]
            if dtype not in DTYPE_BYTES:
                raise CheckpointError(f"{block} has experts of dtype {dtype}, which no bank can hold.")
            placed.append(Part(name=name, dtype=dtype, shape=shape, offset=offset))
            offset = _round_up(offset + placed[-1].nbytes, PART_ALIGNMENT)
        return cls(block=block, experts=experts, stride=_round_up(offset, PAGE), parts=tuple(placed))

    def place(self, folder: Path, of: ExpertPart) -> TensorInfo:
        """Where a tensor of this block stands when the bank lies in `folder`; StopIteration for an unknown part."""
        part = next(part for part in self.parts if part.name == of.part)
        return TensorInfo(
            folder / self.file, part.shape, part.dtype, part.nbytes, of.expert * self.stride + part.offset
        )

    @property
    def file(self) -> str:
        """Name of the bank file."""
        return f"{self.block}.bank"

    @property
    def nbytes(self) -> int:
        """Length of the bank file."""
        return self.experts * self.stride


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def lay_out(tensors: Iterable[tuple[str, TensorInfo]]) -> tuple[BlockLayout, ...]:
    """The banks for the experts among (name, header entry) of a whole checkpoint, in the order of the blocks.

    CheckpointError when experts of one block differ in shape or dtype, or when some are missing.
    """
    parts: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    seen: dict[str, set[tuple[int, str]]] = {}
    for name, info in tensors:
        of = ExpertPart.of(name)
        if of is None:
            continue
        known = parts.setdefault(of.block, {}).setdefault(of.part, (info.dtype, info.shape))
        if known != (info.dtype, info.shape):
            raise CheckpointError(
                f"Tensor {name} is {info.dtype} {list(info.shape)}, other experts have {known[0]} {list(known[1])}.",
                hint=_ONE_RELEASE,
            )
        seen.setdefault(of.block, set()).add((of.expert, of.part))
    layouts = []
    for block in sorted(parts, key=_block_order):
        experts = 1 + max(expert for expert, _ in seen[block])
        missing = experts * len(parts[block]) - len(seen[block])
        if missing:
            raise CheckpointError(f"{missing:,} tensors of the experts of {block} are missing.", hint=_ONE_RELEASE)
        layouts.append(BlockLayout.of(block, experts, parts[block]))
    return tuple(layouts)


def _block_order(block: str) -> tuple[str, int]:
    kind, number = block.split(".")
    return kind, int(number)
