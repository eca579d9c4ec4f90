"""Holding a repacked folder against its checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from dspark_models.errors import CheckpointError
from dspark_models.expert_bank.durable import OnBytes, hash_spans, ignore_bytes
from dspark_models.expert_bank.index import FOLDER, read_index

_REPACK = "The disk or memory has changed it: repack the model again from its original files, into a new folder."


def verify_bank(folder: Path, on_bytes: OnBytes = ignore_bytes) -> dict[str, str]:
    """Read every record and every dense file again and compare; on_bytes hears of the bytes as they are read.

    Returns the SHA-256 of each of these files as a whole, by its path in the folder with forward slashes.
    CheckpointError names the first expert or file that is not what was written, or says that the folder has no bank.
    """
    index = read_index(folder)
    if index is None:
        raise CheckpointError(f"{folder} holds no expert bank.", hint="Give a folder that repack has written.")
    hashes = {}
    for dense in index.dense:
        hashes[dense.file] = _check(folder / dense.file, [dense.file], dense.nbytes, [dense.sha256], on_bytes)
    for bank in index.blocks:
        names = [f"Expert {expert} of {bank.layout.block}" for expert in range(bank.layout.experts)]
        path = folder / FOLDER / bank.file
        hashes[f"{FOLDER}/{bank.file}"] = _check(path, names, bank.layout.stride, bank.sha256, on_bytes)
    return hashes


def _check(path: Path, names: Sequence[str], nbytes: int, expected: Sequence[str], on_bytes: OnBytes) -> str:
    """Hash a file of records of nbytes, one after the other and as a whole; each must have the hash expected of it."""
    whole = hashlib.sha256()
    try:
        size = path.stat().st_size
        if size != nbytes * len(names):
            raise CheckpointError(f"{path} has {size:,} bytes, its index needs {nbytes * len(names):,}.", hint=_REPACK)
        with path.open("rb") as file:
            for record, (name, right) in enumerate(zip(names, expected, strict=True)):
                found = hash_spans(file, [(record * nbytes, nbytes)], on_bytes, whole)
                if found != right:
                    raise CheckpointError(
                        f"{name} in {path} is damaged: its SHA-256 is {found}, it was {right} when written.",
                        hint=_REPACK,
                    )
    except (OSError, EOFError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", hint=_REPACK) from error
    return whole.hexdigest()
