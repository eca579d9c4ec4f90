"""Turning a checkpoint into one with expert banks, shard by shard, so that nothing is lost at any moment.

The order is always the same: write, bring to the disk, read back, note the shard as done, and only then may the source
shard go. The index of the banks comes last; until then the folder holds no config.json and is no model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from dspark_models.errors import CheckpointError
from dspark_models.expert_bank.durable import OnBytes, copy_file, hash_spans, ignore_bytes, sync_folder, write_file
from dspark_models.expert_bank.index import FOLDER, INDEX, WORKSPACE, BankBlock, BankIndex, DenseFile, read_index
from dspark_models.expert_bank.layout import BlockLayout, OnDisk
from dspark_models.expert_bank.plan import DoneShard, RepackPlan, Stored, header_digest
from dspark_models.expert_bank.shard_writer import holds_shard, read_back, store_shard
from dspark_models.shards import INDEX_NAME, read_header

_PLAN = "plan.json"
_COMPANIONS = "files"
_DONE = "done"

Remove = Callable[[Path], None]
_Kind = TypeVar("_Kind", bound=OnDisk)


def unfinished_plan(destination: Path) -> RepackPlan | None:
    """The plan of a folder that a repacking was interrupted in; None for any other. CheckpointError if damaged."""
    return _load(RepackPlan, destination / WORKSPACE / _PLAN)


def _load(kind: type[_Kind], path: Path) -> _Kind | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged.", hint="Delete the folder and repack from the beginning.") from error


def tidy(folder: Path) -> None:
    """Delete what a repacking has left beside the model that it finished."""
    shutil.rmtree(folder / WORKSPACE, ignore_errors=True)
    for leftover in folder.glob("**/*.partial"):
        leftover.unlink(missing_ok=True)


class Repacker:
    """Writes the folder of one plan; opened again on the same folder it continues.

    CheckpointError when the folder holds anything else. OSError, here and in every method, when the disk refuses: what
    is done stays done.
    """

    def __init__(self, destination: Path, plan: RepackPlan) -> None:
        self.destination = destination
        self.plan = plan
        self._workspace = destination / WORKSPACE
        self._done: dict[str, DoneShard] = {}
        self.is_finished = self._holds_the_result()
        if self.is_finished:
            tidy(self.destination)
            return
        self._begin()
        for shard in plan.shards:
            done = _load(DoneShard, self._workspace / _DONE / f"{shard.name}.json")
            if done is not None:
                self._done[shard.name] = done

    def _holds_the_result(self) -> bool:
        if not (self.destination / FOLDER / INDEX).is_file():
            return False
        index = read_index(self.destination)
        if index is None or index.source != self.plan.source:
            raise CheckpointError(f"{self.destination} holds another repacked model.", hint="Give another folder.")
        return True

    def _begin(self) -> None:
        known = unfinished_plan(self.destination)
        if known is None:
            entries = [path.name for path in self.destination.iterdir()] if self.destination.is_dir() else []
            if set(entries) - {WORKSPACE}:
                raise CheckpointError(
                    f"{self.destination} is not empty and was not begun by repack.",
                    hint="Give a new or an empty folder.",
                )
        elif known != self.plan:
            raise CheckpointError(
                f"{self.destination} was begun from {known.origin}, or that has changed since.",
                hint="Continue with the same source, or delete the folder and begin again.",
            )
        self._workspace.mkdir(parents=True, exist_ok=True)
        if known is None:
            # First of all: by its plan a folder is known to be ours.
            write_file(self._workspace / _PLAN, _json(self.plan))
        for folder in (self._workspace / _DONE, self._workspace / _COMPANIONS, self.destination / FOLDER):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)

    def is_done(self, shard: str) -> bool:
        """Whether the shard of that file name is stored, so that its source is not needed any more."""
        return self.is_finished or shard in self._done

    @property
    def pending_bytes(self) -> int:
        """Bytes of the tensors in shards that are not stored yet."""
        return sum(shard.nbytes for shard in self.plan.shards if not self.is_done(shard.name))

    @property
    def largest_pending_bytes(self) -> int:
        """Bytes of the tensors of the largest shard that is not stored yet."""
        return max((shard.nbytes for shard in self.plan.shards if not self.is_done(shard.name)), default=0)

    def take_companions(self, files: Iterable[Path]) -> None:
        """Keep the files that belong to the model beside its shards: config.json and those of the tokenizer."""
        for file in files:
            kept = self._workspace / _COMPANIONS / file.name
            if not self.is_finished and not kept.is_file():
                copy_file(file, kept)

    def add_shard(
        self, path: Path, *, name: str = "", on_bytes: OnBytes = ignore_bytes, remove: Remove | None = None
    ) -> None:
        """Store one shard, unless it is stored, and then call `remove` with its path if it still exists.

        name is the shard's file name where `path` has another. on_bytes hears of each byte of a tensor twice: written,
        and read back from the disk. CheckpointError when the shard is not the one that was planned.
        """
        shard = self.plan.shard(name or path.name)
        if self.is_done(shard.name):
            # It may have been replaced since it was stored.
            if remove is not None and path.exists() and not holds_shard(self.destination, self.plan, path, shard.name):
                raise CheckpointError(
                    f"{path} is not what was repacked into {self.destination}, so it is not deleted.",
                    hint="Repack it into a new folder.",
                )
        else:
            if header_digest(read_header(path)) != shard.header:
                raise CheckpointError(
                    f"{path} is not the shard {shard.name} that the repacking of {self.plan.source.name} began with.",
                    hint="Continue with the same source, or begin again in a new folder.",
                )
            done = store_shard(self.destination, self.plan, path, shard.name, on_bytes)
            write_file(self._workspace / _DONE / f"{shard.name}.json", _json(done))
            self._done[shard.name] = done
        if remove is not None and path.exists():
            remove(path)

    def finish(self) -> BankIndex:
        """Put the parts together and write the index, which makes the folder a model.

        Records that came from several shards are read once more, as no shard could check them whole. CheckpointError
        when a shard is missing.
        """
        if self.is_finished:
            index = read_index(self.destination)
            assert index is not None
            return index
        missing = [shard.name for shard in self.plan.shards if not self.is_done(shard.name)]
        if missing:
            raise CheckpointError(f"{len(missing)} shards are still to be repacked, {missing[0]} first.")
        dense = [done.dense for done in self._done.values() if done.dense is not None]
        index = BankIndex(
            source=self.plan.source,
            blocks=tuple(self._check_bank(layout) for layout in self.plan.blocks),
            dense=tuple(DenseFile(file=file.file, nbytes=file.nbytes, sha256=file.sha256) for file in dense),
        )
        weight_map = {tensor: file.file for file in dense for tensor in file.tensors}
        listing = {"metadata": {"total_size": self.plan.dense_bytes}, "weight_map": weight_map}
        write_file(self.destination / INDEX_NAME, json.dumps(listing, indent=1).encode())
        for kept in sorted((self._workspace / _COMPANIONS).iterdir()):
            if not kept.name.endswith(".partial"):
                kept.replace(self.destination / kept.name)
        sync_folder(self.destination)
        write_file(self.destination / FOLDER / INDEX, _json(index))
        self.is_finished = True
        tidy(self.destination)
        return index

    def _check_bank(self, layout: BlockLayout) -> BankBlock:
        stored: list[list[Stored]] = [[] for _ in range(layout.experts)]
        for done in self._done.values():
            for record in done.stored.get(layout.block, ()):
                stored[record.expert].append(record)
        path = self.destination / FOLDER / layout.file
        digests = []
        with path.open("rb") as file:
            for expert, records in enumerate(stored):
                if len(records) == 1:
                    digests.append(records[0].sha256)
                    continue
                if any(read_back(file, layout, record) != record.sha256 for record in records):
                    raise CheckpointError(
                        f"Expert {expert} of {layout.block} in {path} has changed since it was written.",
                        hint="Check the disk, delete the folder and begin again.",
                    )
                digests.append(hash_spans(file, [(expert * layout.stride, layout.stride)]))
        return BankBlock(file=layout.file, layout=layout, sha256=tuple(digests))


def _json(record: OnDisk) -> bytes:
    return record.model_dump_json(indent=1).encode()
