"""Pulling a model straight into a folder with expert banks: each shard goes as soon as its part of the folder is safe.

So the disk never holds two copies. What is verified against the hub is the shard; the repacking keeps its values bit
for bit, reads them back, and records hashes of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dspark_local.errors import IntegrityError, UsageError
from dspark_local.hub.cache import RepoCache
from dspark_local.hub.draft_layout import LENGTH_BYTES
from dspark_local.hub.events import FileProgress, Notice, Planned
from dspark_local.hub.intake import Intake
from dspark_local.hub.listing import HubFile, Listing
from dspark_local.hub.ranged import Source
from dspark_local.hub.shard_header import fetch_header
from dspark_local.hub.space import check_room
from dspark_local.model_errors import models_errors
from dspark_local.store.digests import Digest
from dspark_local.store.manifest import Manifest, model_folder, read_manifest
from dspark_local.store.repacked import adopt_repacked
from dspark_models.expert_bank.plan import RepackPlan
from dspark_models.expert_bank.repacker import Repacker, unfinished_plan
from dspark_models.shards import INDEX_NAME, parse_header

_SHARDS_IN_WORK = 2
"""Shards whose originals may lie on the disk beside the folder: the one being repacked, and the next one arriving."""
_HEADER_FETCHES = 4


def pull_repacked(intake: Intake, listing: Listing, files: Sequence[HubFile]) -> tuple[Path, int]:
    """Make a repacked folder of these files; continues where it was interrupted. Returns it and its bytes.

    Raises UsageError for files that hold nothing to repack, IntegrityError for a finished folder that has been damaged
    since, and what Intake.run raises.
    """
    folder = model_folder(listing.repo, listing.commit, "repacked")
    nbytes = sum(file.size for file in files)
    manifest = read_manifest(folder)
    if manifest is not None:
        _demand_sound(intake, listing, folder, manifest)
        intake.count_present(nbytes)
        return folder, sum(file.size for file in manifest.files)
    with models_errors():
        work = _Work(intake, listing, files, folder)
        work.plan()
        intake.run()
        return folder, work.finish()


def _demand_sound(intake: Intake, listing: Listing, folder: Path, manifest: Manifest) -> None:
    """Look at what nobody has checked since it changed, so that what is told to be here can be loaded."""
    total = sum(file.size for file in manifest.files)
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        intake.tell(FileProgress("checking the repacked files", min(done, total), total))

    for file in manifest.files:
        path, digest = folder / file.path, Digest("sha256", file.sha256)
        if not path.is_file():
            problem = "is missing"
        elif intake.verified.holds(path, digest) or intake.verified.check(path, digest, on_bytes):
            continue
        else:
            problem = "is not what was written"
        raise IntegrityError(
            f"{path} {problem}.",
            hint=f"dspark-local rm {listing.repo} --only repacked removes this copy, "
            f"dspark-local pull --repack {listing.repo} makes it again.",
        )


class _Work:
    def __init__(self, intake: Intake, listing: Listing, files: Sequence[HubFile], folder: Path) -> None:
        self.folder = folder
        self._intake = intake
        self._listing = listing
        self._cache = RepoCache(intake.root, listing.repo)
        self._shards = [file for file in files if file.path.endswith(".safetensors")]
        self._others = [file for file in files if file not in self._shards]
        if not self._shards or any("/" in file.path for file in self._shards):
            raise UsageError(
                f"{listing.repo} holds no safetensors shards that could be repacked.", hint="Leave --repack out."
            )

    def plan(self) -> None:
        """Want every shard that is not in the folder yet; the small files come first."""
        intake, listing = self._intake, self._listing
        present = intake.add(listing, self._others)
        intake.run()
        self._repacker = Repacker(self.folder, unfinished_plan(self.folder) or self._new_plan())
        pointers = [self._cache.pointer(listing.commit, file) for file in self._others if file.path != INDEX_NAME]
        self._repacker.take_companions([pointer for pointer in pointers if pointer.parent.name == listing.commit])
        done = [file for file in self._shards if self._repacker.is_done(file.path)]
        for file in done:
            self._cache.drop(self._cache.pointer(listing.commit, file))
            intake.count_present(file.size)
        present += sum(file.size for file in done)
        if not self._repacker.is_finished:
            pending = self._repacker.pending_bytes + _SHARDS_IN_WORK * self._repacker.largest_pending_bytes
            check_room({self.folder: pending}, kept=present)
        todo = [file for file in self._shards if file not in done]
        present += intake.add(listing, todo, self._store)
        total = sum(file.size for file in (*self._others, *self._shards))
        intake.settings.listener(
            Planned(listing.repo, listing.commit, len(self._others) + len(self._shards), total, present)
        )

    def _new_plan(self) -> RepackPlan:
        settings, listing = self._intake.settings, self._listing
        headers = {}
        for count, file in enumerate(self._shards):
            self._show(f"headers of {len(self._shards)} shards", count, len(self._shards))
            source = Source.of(listing, file, token=settings.token, endpoint=settings.endpoint)
            headers[file.path] = parse_header(Path(file.path), self._header(source))
        return RepackPlan.of(headers, origin=f"{listing.repo}@{listing.commit}", name=listing.repo)

    def _header(self, source: Source) -> bytes:
        """Fetched until two answers agree: the hash of the whole file comes too late for the plan, which is kept."""
        text = b""
        for _ in range(_HEADER_FETCHES):
            before, text = text, fetch_header(source, self._intake.settings.patience)
            self._intake.moved_bytes += LENGTH_BYTES + len(text)
            if text == before:
                return text
        raise IntegrityError(
            f"The header of {source.path} arrived {_HEADER_FETCHES} times, and differently each time.",
            hint="The network, this computer's memory or the mirror changes data.",
        )

    def _store(self, path: str, pointer: Path) -> None:
        with models_errors():
            self._repacker.add_shard(pointer, name=path, remove=self._cache.drop)

    def finish(self) -> int:
        """Make the folder a model of the store, and clear the cache of what was needed on the way."""
        self._repacker.finish()
        self._intake.settings.listener(Notice("Everything is repacked; the result is read once more."))
        read, total = 0, self._repacker.plan.nbytes

        def on_bytes(count: int) -> None:
            nonlocal read
            read += count
            self._show("checking the repacked files", read, total)

        listing = self._listing
        manifest = adopt_repacked(
            self.folder, repo=listing.repo, revision=listing.revision, commit=listing.commit, on_bytes=on_bytes
        )
        for file in self._others:
            self._cache.drop(self._cache.pointer(listing.commit, file))
        self._cache.forget(listing.commit)
        return sum(file.size for file in manifest.files)

    def _show(self, what: str, done: int, total: int) -> None:
        self._intake.tell(FileProgress(what, min(done, total), total))
