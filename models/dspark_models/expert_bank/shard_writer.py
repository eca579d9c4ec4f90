"""Writing what one source shard holds to its places: experts into the banks, the rest into a dense file.

Everything is read back from the disk and compared before it is reported as stored.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open

from dspark_models.errors import CheckpointError
from dspark_models.expert_bank.durable import (
    OnBytes,
    copy_file,
    forget,
    hash_spans,
    place,
    sync_file,
    sync_folder,
)
from dspark_models.expert_bank.index import FOLDER
from dspark_models.expert_bank.layout import BlockLayout, ExpertPart
from dspark_models.expert_bank.plan import DoneDense, DoneShard, RepackPlan, Stored
from dspark_models.shards import REFETCH, TensorInfo, read_header

_UNRELIABLE = "The disk does not return what was written to it. The source shard is kept: check the disk."


def store_shard(folder: Path, plan: RepackPlan, shard: Path, name: str, on_bytes: OnBytes) -> DoneShard:
    """Write one shard's part of `folder` and bring it to the disk.

    on_bytes hears of each byte of a tensor twice: written, and read back. CheckpointError for a damaged shard or a
    disk that returns other bytes, OSError when the disk refuses.
    """
    header = read_header(shard)
    experts: dict[str, dict[int, list[ExpertPart]]] = {}
    rest: dict[str, TensorInfo] = {}
    for tensor, info in header.items():
        of = ExpertPart.of(tensor)
        if of is None:
            rest[tensor] = info
        else:
            experts.setdefault(of.block, {}).setdefault(of.expert, []).append(of)
    # The library's own reader refuses a header whose offsets or sizes do not fit each other.
    with _opened(shard), shard.open("rb") as source:
        stored = {}
        for block, parts in experts.items():
            layout = plan.layout(next(iter(parts.values()))[0])
            stored[block] = _store_experts(folder / FOLDER / layout.file, layout, source, header, parts, on_bytes)
        sync_folder(folder / FOLDER)
        forget(source)
    dense = _store_dense(folder, shard, name, rest, whole=not experts, on_bytes=on_bytes) if rest else None
    return DoneShard(name=name, dense=dense, stored=stored)


def _opened(shard: Path) -> safe_open:
    try:
        return safe_open(shard, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{shard} is damaged: {error}.", hint=REFETCH) from error


def _store_experts(
    bank: Path,
    layout: BlockLayout,
    source: BinaryIO,
    header: Mapping[str, TensorInfo],
    experts: Mapping[int, list[ExpertPart]],
    on_bytes: OnBytes,
) -> tuple[Stored, ...]:
    stored = []
    bank.touch()
    with bank.open("r+b") as file:
        # Sparse: a hole takes no room until its expert comes.
        file.truncate(layout.nbytes)
        for expert in sorted(experts):
            digest, spans = hashlib.sha256(), []
            for offset, content in _pieces(layout, source, header, experts[expert]):
                file.seek(expert * layout.stride + offset)
                file.write(content)
                digest.update(content)
                spans.append((offset, len(content)))
            stored.append(Stored(expert=expert, spans=tuple(spans), sha256=digest.hexdigest()))
            on_bytes(_payload(header, experts[expert]))
        sync_file(file)
        for record in stored:
            if read_back(file, layout, record) != record.sha256:
                raise CheckpointError(
                    f"Expert {record.expert} of {layout.block} was not written whole.", hint=_UNRELIABLE
                )
            on_bytes(_payload(header, experts[record.expert]))
        forget(file)
    return tuple(stored)


def read_back(file: BinaryIO, layout: BlockLayout, record: Stored) -> str:
    """SHA-256 of what a shard gave to a record, as the bank file holds it now."""
    start = record.expert * layout.stride
    return hash_spans(file, [(start + offset, nbytes) for offset, nbytes in record.spans])


def _pieces(
    layout: BlockLayout, source: BinaryIO, header: Mapping[str, TensorInfo], parts: list[ExpertPart]
) -> Iterator[tuple[int, bytes]]:
    """(offset in the record, bytes): one piece with its padding if the shard holds the whole expert."""
    names = {of.part: of.tensor for of in parts}
    found = [(part.offset, _read(source, header[names[part.name]])) for part in layout.parts if part.name in names]
    if len(found) < len(layout.parts):
        yield from found
        return
    record = bytearray(layout.stride)
    for offset, content in found:
        record[offset : offset + len(content)] = content
    yield 0, bytes(record)


def _read(source: BinaryIO, info: TensorInfo) -> bytes:
    source.seek(info.offset)
    content = source.read(info.nbytes)
    if len(content) != info.nbytes:
        raise CheckpointError(f"{info.shard} became shorter while it was read.", hint=REFETCH)
    return content


def _payload(header: Mapping[str, TensorInfo], parts: list[ExpertPart]) -> int:
    return sum(header[of.tensor].nbytes for of in parts)


def _store_dense(
    folder: Path, shard: Path, name: str, tensors: Mapping[str, TensorInfo], *, whole: bool, on_bytes: OnBytes
) -> DoneDense:
    path = folder / f"dense-{name}"
    nbytes = sum(info.nbytes for info in tensors.values())
    if whole:
        # The library would hold the embedding in memory twice.
        copy_file(shard, path)
    else:
        _save(shard, tensors, path, nbytes)
    on_bytes(nbytes)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = hash_spans(file, [(0, size)])
    copies = read_header(path)
    if not all(name in copies and _is_same(info, copies[name]) for name, info in tensors.items()):
        raise CheckpointError(f"{path} was not written whole.", hint=_UNRELIABLE)
    on_bytes(nbytes)
    return DoneDense(file=path.name, nbytes=size, sha256=found, tensors=tuple(sorted(tensors)))


def holds_shard(folder: Path, plan: RepackPlan, shard: Path, name: str) -> bool:
    """Whether every tensor of a shard stands in `folder` with the same bytes; reads both."""
    header = read_header(shard)
    rest = {tensor: info for tensor, info in header.items() if ExpertPart.of(tensor) is None}
    dense = read_header(folder / f"dense-{name}") if rest else {}
    places = dict(dense)
    for of in filter(None, map(ExpertPart.of, header)):
        places[of.tensor] = plan.layout(of).place(folder / FOLDER, of)
    return all(tensor in places and _is_same(info, places[tensor]) for tensor, info in header.items())


def _is_same(one: TensorInfo, other: TensorInfo) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    digests = set()
    for info in (one, other):
        with info.shard.open("rb") as file:
            digests.add(hash_spans(file, [(info.offset, info.nbytes)]))
    return len(digests) == 1


def _save(shard: Path, tensors: Mapping[str, TensorInfo], path: Path, nbytes: int) -> None:
    from safetensors.torch import save_file

    temporary = path.with_name(f"{path.name}.partial")
    try:
        with safe_open(shard, framework="pt", device="cpu") as reader:
            save_file({name: reader.get_tensor(name) for name in sorted(tensors)}, temporary, metadata={"format": "pt"})
    except SafetensorError as error:
        if shutil.disk_usage(path.parent).free < nbytes:
            # The library says it in words alone.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise CheckpointError(f"{shard} cannot be copied to {path}: {error}.") from error
    with temporary.open("r+b") as file:
        sync_file(file)
    place(temporary, path)
