"""Which files a snapshot of a model should have: what the hub listed, or else what its own index promises."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from dspark_local.catalog.schema import Source
from dspark_local.errors import DsparkError
from dspark_local.store.digests import Digest
from dspark_local.store.locations import hub_cache_dir
from dspark_local.store.snapshots import Snapshot

if TYPE_CHECKING:
    from dspark_local.hub.listing import Listing

# What an engine or a tokenizer reads. Everything else in a repository may be absent or wrong without harm.
_MODEL_FILES = ("*.safetensors", "*.gguf", "*.json", "*.jinja", "*.model", "*.tiktoken", "*merges.txt", "*vocab.txt")
_INDEX = "model.safetensors.index.json"
_SPLIT = re.compile(r"(.*)-\d{5}-of-(\d{5})\.(gguf|safetensors)")


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A file that must be there. size and digest are None where nobody recorded them."""

    path: str
    size: int | None = None
    digest: Digest | None = None


def belongs_to_model(path: str, sources: Iterable[Source]) -> bool:
    """Whether this file of a repository is part of the model: of a kind that is read, and chosen by one of the sources.

    Without sources everything of such a kind is.
    """
    if not any(fnmatchcase(path, pattern) for pattern in _MODEL_FILES):
        return False
    chosen = list(sources)
    return not chosen or any(source.takes(path) for source in chosen)


def expected_files(snapshot: Snapshot, sources: Iterable[Source]) -> tuple[ExpectedFile, ...]:
    """What the snapshot must hold to be complete. Never raises: what cannot be read is an expectation not met."""
    chosen = tuple(sources)
    listing = _listing(snapshot)
    if listing is None:
        return tuple(ExpectedFile(path) for path in sorted(_promised(snapshot, chosen)))
    paths = _taken(listing, chosen)
    if paths is None:
        paths = _promised(snapshot, chosen) | {file.path for file in snapshot.files}
    return tuple(
        ExpectedFile(file.path, file.size, file.digest)
        for file in listing.files
        if file.path in paths and belongs_to_model(file.path, chosen)
    )


def _listing(snapshot: Snapshot) -> Listing | None:
    """What the hub said about this commit when it was last asked, by us or by its own client."""
    from dspark_local.hub.listing import HubFile, Listing
    from dspark_local.hub.remembered import recall

    listing = recall(snapshot.repo, snapshot.commit)
    if listing is not None:
        return listing

    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(snapshot.repo, revision=snapshot.commit, cache_dir=hub_cache_dir())
    except (CachedRepoTreeNotFoundError, ValueError, OSError):
        return None
    files = tuple(
        HubFile(file.path, file.lfs.size, Digest("sha256", file.lfs.sha256), True)
        if file.lfs
        else HubFile(file.path, file.size, Digest("git-sha1", file.blob_id), False)
        for file in tree
    )
    return Listing(snapshot.repo, snapshot.commit, snapshot.commit, files)


def _taken(listing: Listing, sources: tuple[Source, ...]) -> set[str] | None:
    """Paths that pulling takes; None when it would ask which of several models is meant."""
    if any(source.include for source in sources):
        return {file.path for file in listing.files}
    from dspark_local.hub.selection import select

    try:
        return {file.path for file in select(listing).taken}
    except DsparkError:
        return None


def _promised(snapshot: Snapshot, sources: tuple[Source, ...]) -> set[str]:
    """Files that the present ones cannot be used without."""
    present = {file.path for file in snapshot.files if belongs_to_model(file.path, sources)}
    promised = {path for path in snapshot.broken if belongs_to_model(path, sources)}
    for path in present:
        split = _SPLIT.fullmatch(path)
        if split:
            count = int(split[2])
            promised.update(f"{split[1]}-{number:05d}-of-{split[2]}.{split[3]}" for number in range(1, count + 1))
    ggufs = {path for path in present | promised if path.endswith(".gguf")}
    if ggufs:
        return promised | ggufs
    promised |= {"config.json"} | _index_shards(snapshot.folder / _INDEX)
    shards = {path for path in present | promised if path.endswith(".safetensors")}
    return promised | (shards or {"model.safetensors"})


def _index_shards(index: Path) -> set[str]:
    try:
        return {str(shard) for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
