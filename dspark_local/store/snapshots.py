"""The hub's cache as it lies on disk: repositories, commits, files and the hashes that name their content.

huggingface_hub's own scan leaves out a repository with one broken link or an unfinished download, which are the ones
that a user asks about, so the documented layout is read here. What it deletes is still the hub's client's to decide.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dspark_local.store.digests import Digest
from dspark_local.store.locations import hub_cache_dir

PART_ENDING = ".dspark-part"
JOURNAL_ENDING = ".dspark-journal"

_PREFIX = "models--"


@dataclass(frozen=True, slots=True)
class CachedFile:
    """One file of a snapshot. path is as in the repository, with forward slashes.

    digest is what the hub recorded, read from the blob's name; None where links are not possible (some Windows
    accounts) and the file lies in the snapshot under its own name.
    """

    path: str
    link: Path
    blob: Path
    size: int
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a repository. refs are branches and tags that last stood for it; broken are links to nothing."""

    repo: str
    commit: str
    refs: tuple[str, ...]
    folder: Path
    files: tuple[CachedFile, ...]
    broken: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all its files, content that two names share counted once."""
        return sum({file.blob: file.size for file in self.files}.values())


@dataclass(frozen=True, slots=True)
class CachedRepo:
    """One repository of the cache. parts are downloads of ours that were not finished, with their journals."""

    repo: str
    folder: Path
    snapshots: tuple[Snapshot, ...]
    parts: tuple[Path, ...]

    @property
    def part_bytes(self) -> int:
        """Bytes that unfinished downloads take on the disk; holes in them take none."""
        return sum(disk_bytes(part) for part in self.parts)

    def snapshot(self, revision: str) -> Snapshot | None:
        """The commit that a branch, a tag, a hash or the first seven or more digits of one stand for."""
        for snapshot in self.snapshots:
            if revision in snapshot.refs or snapshot.commit == revision:
                return snapshot
        if len(revision) < 7:
            return None
        alike = [snapshot for snapshot in self.snapshots if snapshot.commit.startswith(revision)]
        return alike[0] if len(alike) == 1 else None


def cached_repos() -> tuple[CachedRepo, ...]:
    """Every model repository in the cache, by name; empty when there is no cache. Raises OSError."""
    root = hub_cache_dir()
    try:
        folders = sorted(folder for folder in root.iterdir() if folder.name.startswith(_PREFIX) and folder.is_dir())
    except FileNotFoundError:
        return ()
    return tuple(_read(folder) for folder in folders)


def cached_repo(repo: str) -> CachedRepo | None:
    """One repository, whatever the case of its name; None when nothing of it is there. Raises OSError."""
    return next((cached for cached in cached_repos() if cached.repo.casefold() == repo.casefold()), None)


def disk_bytes(path: Path) -> int:
    """What a file takes on the disk; its length where the system does not say; 0 when it is gone."""
    try:
        state = path.lstat()
    except OSError:
        return 0
    blocks = getattr(state, "st_blocks", None)
    return state.st_size if blocks is None else min(blocks * 512, state.st_size)


def _read(folder: Path) -> CachedRepo:
    repo = folder.name.removeprefix(_PREFIX).replace("--", "/")
    refs = dict(_refs(folder / "refs"))
    snapshots = []
    if (folder / "snapshots").is_dir():
        for commit in sorted((folder / "snapshots").iterdir()):
            if commit.is_dir():
                names = tuple(sorted(ref for ref, target in refs.items() if target == commit.name))
                snapshots.append(_snapshot(repo, commit, names))
    blobs = folder / "blobs"
    parts = [path for ending in (PART_ENDING, JOURNAL_ENDING) for path in blobs.glob(f"*{ending}")]
    return CachedRepo(repo, folder, tuple(snapshots), tuple(sorted(parts)))


def _refs(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("*"):
        if file.is_file() and not file.name.startswith("."):
            yield file.relative_to(folder).as_posix(), file.read_text(encoding="utf-8", errors="replace").strip()


def _snapshot(repo: str, folder: Path, refs: tuple[str, ...]) -> Snapshot:
    files, broken = [], []
    for link in sorted(folder.rglob("*")):
        if link.is_dir():
            continue
        path = link.relative_to(folder).as_posix()
        # One hop only: a blob may itself be a link into a store that several caches share.
        blob = Path(os.path.abspath(link.parent / os.readlink(link))) if link.is_symlink() else link
        try:
            size = blob.stat().st_size
        except OSError:
            broken.append(path)
            continue
        files.append(CachedFile(path, link, blob, size, Digest.parse(blob.name) if link.is_symlink() else None))
    return Snapshot(repo, folder.name, refs, folder, tuple(files), tuple(broken))
