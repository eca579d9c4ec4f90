"""Holding a repacked folder against its checksums."""

from __future__ import annotations

from pathlib import Path

from dspark_models.errors import CheckpointError
from dspark_models.expert_bank.durable import OnBytes, hash_spans, ignore_bytes
from dspark_models.expert_bank.index import FOLDER, read_index

_REPACK = "The disk or memory has changed it: repack the model again from its original files, into a new folder."


def verify_bank(folder: Path, on_bytes: OnBytes = ignore_bytes) -> int:
    """Read every record and every dense file again and compare; returns the bytes read, told to on_bytes as it goes.

    CheckpointError names the first expert or file that is not what was written, or says that the folder has no bank.
    """
    index = read_index(folder)
    if index is None:
        raise CheckpointError(f"{folder} holds no expert bank.", hint="Give a folder that repack has written.")
    total = 0
    for dense in index.dense:
        total += dense.nbytes
        _check(folder / dense.file, dense.file, (0, dense.nbytes), dense.sha256, on_bytes)
    for bank in index.blocks:
        layout = bank.layout
        total += layout.nbytes
        for expert, expected in enumerate(bank.sha256):
            what = f"Expert {expert} of {layout.block}"
            _check(folder / FOLDER / bank.file, what, (expert * layout.stride, layout.stride), expected, on_bytes)
    return total


def _check(path: Path, what: str, span: tuple[int, int], expected: str, on_bytes: OnBytes) -> None:
    try:
        if span[0] == 0 and path.suffix == ".safetensors" and path.stat().st_size != span[1]:
            raise CheckpointError(
                f"{path} has {path.stat().st_size:,} bytes, its index needs {span[1]:,}.", hint=_REPACK
            )
        with path.open("rb") as file:
            found = hash_spans(file, [span], on_bytes)
    except (OSError, EOFError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", hint=_REPACK) from error
    if found != expected:
        raise CheckpointError(
            f"{what} in {path} is damaged: its SHA-256 is {found}, it was {expected} when written.", hint=_REPACK
        )
