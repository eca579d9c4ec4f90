"""Repacking a model directory for off-loading: what it needs, what it frees, and what can go wrong on the way.

The work itself is `dspark_models.expert_bank`; here are the room on the disk, the files beside the weights and the
removal of the source.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dspark_local import paths
from dspark_local.errors import DiskFullError, DsparkError, ModelNotFoundError, UsageError
from dspark_local.model_errors import models_errors
from dspark_local.sizes import format_bytes
from dspark_local.store.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from dspark_models.expert_bank.plan import RepackPlan
    from dspark_models.expert_bank.repacker import Repacker

_INDEX_NAME = "model.safetensors.index.json"
_COMPANION_ENDINGS = (".json", ".jinja", ".txt", ".md", ".model", ".tiktoken")
_MAX_COMPANION_BYTES = 256 * 10**6
_BOOKKEEPING_BYTES = 16 * 10**6
"""Room for the journal, the index and the padding beside the tensors."""
_CONTINUE = "Run the same command again, it continues where it stopped."


@dataclass(frozen=True, slots=True)
class RepackSource:
    """A directory to repack. `origin` identifies its exact content, by default its path; `name` is what it is called.

    remove deletes one file of the model, by default the file itself.
    """

    directory: Path
    name: str = ""
    origin: str = ""
    remove: Callable[[Path], None] | None = None

    def remove_file(self, path: Path) -> None:
        """Delete one file of the model."""
        (self.remove or Path.unlink)(path)


@dataclass(frozen=True, slots=True)
class RepackStart:
    """Bytes: all tensors of the model, those repacked by an earlier run, the room that is needed, and the free one."""

    total: int
    earlier: int
    needed: int
    free: int


@dataclass(frozen=True, slots=True)
class RepackResult:
    """The finished folder: bytes on the disk, blocks and experts in banks, bytes repacked by this run, seconds."""

    destination: Path
    nbytes: int
    blocks: int
    experts: int
    repacked_bytes: int
    seconds: float
    source_is_gone: bool


def repack(
    source: RepackSource,
    destination: Path,
    *,
    remove_source: bool = False,
    on_start: Callable[[RepackStart], None] = lambda _: None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> RepackResult:
    """Write the directory's model into `destination` with expert banks; continues what was interrupted.

    With remove_source each shard goes as soon as its part is on the disk and was read back, the other files of the
    model at the end. on_bytes hears of every byte twice, written and read back. Raises ModelNotFoundError,
    CheckpointError, DiskFullError, UsageError.
    """
    began = time.monotonic()
    with _one_at_a_time(destination), _explained(destination):
        from dspark_models.expert_bank.repacker import Repacker, tidy

        plan = _plan(source, destination)
        if plan is None:
            tidy(destination)
            return _result(destination, 0, began, _remove_rest(source, destination) if remove_source else False)
        if remove_source and source.remove is None:
            _refuse_links(source.directory, plan)
        repacker = Repacker(destination, plan)
        pending = repacker.pending_bytes
        room = _room(repacker, source.directory, destination, frees=remove_source)
        on_start(room)
        if not repacker.is_finished:
            if room.free < room.needed:
                raise _too_little_room(destination, room, frees=remove_source)
            repacker.take_companions(_companions(source.directory))
        remove = source.remove_file if remove_source else None
        for shard in plan.shards:
            path = source.directory / shard.name
            if path.exists() or not repacker.is_done(shard.name):
                repacker.add_shard(path, on_bytes=on_bytes, remove=remove)
        repacker.finish()
        is_gone = _remove_rest(source, destination) if remove_source else False
        return _result(destination, pending, began, is_gone)


def _plan(source: RepackSource, destination: Path) -> RepackPlan | None:
    """The plan that was begun, or a new one; None when all is done and the source's shards are gone."""
    from dspark_models.expert_bank.index import FOLDER, INDEX
    from dspark_models.expert_bank.plan import RepackPlan
    from dspark_models.expert_bank.repacker import unfinished_plan
    from dspark_models.shards import read_header, shard_files

    directory = source.directory
    origin = source.origin or str(directory.resolve())
    is_complete = (destination / FOLDER / INDEX).is_file()
    begun = None if is_complete else unfinished_plan(destination)
    if begun is not None:
        if begun.origin != origin:
            raise UsageError(
                f"{destination} was begun from {begun.origin}, not from {origin}.",
                hint="Continue with that source, or give another folder.",
            )
        return begun
    if is_complete and not any(directory.glob("*.safetensors")):
        return None
    if not directory.is_dir():
        raise ModelNotFoundError(f"There is no directory {directory}.", hint="Give the directory with the shards.")
    if (directory / FOLDER / INDEX).is_file():
        raise UsageError(f"{directory} is repacked already.", hint="Use it as it is.")
    if not (directory / "config.json").is_file():
        raise ModelNotFoundError(
            f"{directory} holds no model: config.json is missing.",
            hint="Give the directory that holds config.json and the safetensors files.",
        )
    headers = {shard.name: read_header(shard) for shard in shard_files(directory)}
    return RepackPlan.of(headers, origin=origin, name=source.name or directory.resolve().name)


def _companions(directory: Path) -> list[Path]:
    """The files of the model beside its weights; no weights, no code, nothing hidden."""
    return [
        path
        for path in sorted(directory.iterdir())
        if (path.suffix in _COMPANION_ENDINGS or path.name.startswith("LICENSE"))
        and not path.name.startswith(".")
        and path.name not in (_INDEX_NAME, MANIFEST_NAME)
        and path.is_file()
        and path.stat().st_size <= _MAX_COMPANION_BYTES
    ]


def _refuse_links(directory: Path, plan: RepackPlan) -> None:
    for shard in plan.shards:
        if (directory / shard.name).is_symlink():
            raise UsageError(
                f"{directory / shard.name} is a link: removing it would free nothing.",
                hint="Leave --remove-source out, or give the directory with the files themselves.",
            )


def _room(repacker: Repacker, source: Path, destination: Path, *, frees: bool) -> RepackStart:
    total, pending = repacker.plan.nbytes, repacker.pending_bytes
    is_same_disk = os.stat(source).st_dev == os.stat(destination).st_dev if source.exists() else False
    needed = repacker.largest_pending_bytes if frees and is_same_disk else pending
    free = shutil.disk_usage(destination).free
    return RepackStart(total, total - pending, needed + _BOOKKEEPING_BYTES if pending else 0, free)


def _remove_rest(source: RepackSource, destination: Path) -> bool:
    """Delete what the new folder has too; True when the directory is gone. Files that are the user's own stay."""
    directory = source.directory
    if not directory.is_dir():
        return True
    if (directory / _INDEX_NAME).exists():
        source.remove_file(directory / _INDEX_NAME)
    for file in _companions(directory):
        copy = destination / file.name
        if copy.is_file() and copy.read_bytes() == file.read_bytes():
            source.remove_file(file)
    with contextlib.suppress(OSError):
        directory.rmdir()
    return not directory.exists()


def _result(destination: Path, repacked: int, began: float, is_gone: bool) -> RepackResult:
    from dspark_models.expert_bank.index import read_index

    index = read_index(destination)
    assert index is not None
    return RepackResult(
        destination=destination,
        nbytes=sum(path.stat().st_size for path in destination.rglob("*") if path.is_file()),
        blocks=len(index.blocks),
        experts=sum(bank.layout.experts for bank in index.blocks),
        repacked_bytes=repacked,
        seconds=time.monotonic() - began,
        source_is_gone=is_gone,
    )


def _too_little_room(destination: Path, room: RepackStart, *, frees: bool) -> DiskFullError:
    way_out = "Make room." if frees else "Make room, or let --remove-source free it shard by shard."
    return DiskFullError(
        f"The disk of {destination} is too full: {format_bytes(room.total - room.earlier)} are still to be repacked, "
        f"which needs {format_bytes(room.needed)} of room, and {format_bytes(room.free)} are free.",
        hint=f"{way_out} {_CONTINUE}",
    )


@contextlib.contextmanager
def _one_at_a_time(destination: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    digest = hashlib.sha256(str(destination.resolve()).encode()).hexdigest()
    folder = paths.state_dir() / "locks"
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        with FileLock(folder / f"repack-{digest[:16]}.lock", timeout=0):
            yield
    except Timeout as error:
        raise UsageError(f"Another process is writing to {destination}.", hint="Wait until it has ended.") from error


@contextlib.contextmanager
def _explained(destination: Path) -> Iterator[None]:
    """The models' errors and the disk's refusals in the product's words."""
    try:
        with models_errors():
            yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(destination).free
            raise DiskFullError(
                f"The disk of {destination} is full: {format_bytes(free)} are free, and a shard did not fit. "
                "The shards that were finished are kept.",
                hint=f"Make room. {_CONTINUE}",
            ) from error
        raise DsparkError(
            f"{error.filename or destination}: {error.strerror or error}. The shards that were finished are kept.",
            hint=f"Mend that. {_CONTINUE}",
        ) from error
