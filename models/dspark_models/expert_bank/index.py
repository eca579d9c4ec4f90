"""experts/index.json: what the banks of a folder hold, and the checksums of every record.

It is written last. A folder that has it is whole; one that has the workspace of a repacking instead is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from dspark_models.errors import CheckpointError
from dspark_models.expert_bank.layout import BlockLayout, OnDisk

FOLDER = "experts"
INDEX = "index.json"
WORKSPACE = ".repacking"
_REPACK = "Repack the model again from its original files, into a new folder."

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BankBlock(OnDisk):
    """One bank file: its layout and the SHA-256 of each record, padding included."""

    file: str
    layout: BlockLayout
    sha256: tuple[Sha256, ...]


class DenseFile(OnDisk):
    """A safetensors file with the tensors of one source shard that belong to no routed expert."""

    file: Annotated[str, Field(pattern=r"^dense-[^/\\\x00]+\.safetensors$")]
    nbytes: int
    sha256: Sha256


class Source(OnDisk):
    """What was repacked: its name, and the SHA-256 of all its tensors' names, dtypes and shapes."""

    name: str
    inventory: Sha256


class BankIndex(OnDisk):
    """The whole of experts/index.json."""

    format: Literal["dspark-expert-bank"] = "dspark-expert-bank"
    version: Literal[1] = 1
    alignment: Literal[4096] = 4096
    source: Source
    blocks: tuple[BankBlock, ...]
    dense: tuple[DenseFile, ...]


def is_half_finished(folder: Path) -> bool:
    """True for a folder that a repacking has begun to write and has not finished."""
    return (folder / WORKSPACE).is_dir() and not (folder / FOLDER / INDEX).is_file()


def read_index(folder: Path) -> BankIndex | None:
    """The index of a repacked folder, checked against the files' lengths; None for a folder without banks.

    CheckpointError for a damaged index, or a bank that is missing or has another length, and for a folder that is
    not finished.
    """
    path = folder / FOLDER / INDEX
    if is_half_finished(folder):
        raise CheckpointError(
            f"{folder} is half repacked: it is no model yet.",
            hint="Run the same repack command again, it continues where it stopped.",
        )
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        index = BankIndex.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise CheckpointError(f"{path} is damaged: {where}: {first['msg']}.", hint=_REPACK) from error
    names = [bank.layout.block for bank in index.blocks]
    if len(set(names)) != len(names):
        raise CheckpointError(f"{path} is damaged: a block stands in it twice.", hint=_REPACK)
    for bank in index.blocks:
        _check_block(folder, bank)
    return index


def _check_block(folder: Path, bank: BankBlock) -> None:
    layout, path = bank.layout, folder / FOLDER / bank.layout.file
    damaged = f"{folder / FOLDER / INDEX} is damaged: {layout.block}"
    parts = {part.name: (part.dtype, part.shape) for part in layout.parts}
    # Nothing in the file is trusted that follows from the rest: offsets and lengths are worked out again.
    try:
        expected = BlockLayout.of(layout.block, layout.experts, parts)
    except CheckpointError as error:
        raise CheckpointError(f"{damaged}: {error.message}", hint=_REPACK) from error
    if expected != layout or bank.file != layout.file:
        raise CheckpointError(f"{damaged} is laid out differently than its parts ask for.", hint=_REPACK)
    if len(bank.sha256) != layout.experts:
        raise CheckpointError(
            f"{damaged} has {len(bank.sha256):,} checksums for {layout.experts:,} experts.", hint=_REPACK
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.", hint=_REPACK) from error
    if size != layout.nbytes or not path.is_file():
        raise CheckpointError(f"{path} has {size:,} bytes, its index needs {layout.nbytes:,}.", hint=_REPACK)
