"""Listings kept between runs, so that a complete model is known to be complete without a network."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from dspark_local import paths
from dspark_local.hub.listing import HubFile, Listing
from dspark_local.store.digests import Digest


def remember(listing: Listing) -> None:
    """Keep it, by its revision and by its commit. A disk that refuses costs only the offline answer.

    A commit never changes, a branch does, and a pull that was cut short has not yet recorded what its branch stood for.
    """
    content = {
        "repo": listing.repo,
        "revision": listing.revision,
        "commit": listing.commit,
        "files": [[f.path, f.size, f.digest.kind, f.digest.value, f.is_lfs] for f in listing.files],
    }
    with contextlib.suppress(OSError):
        for revision in {listing.revision, listing.commit}:
            file = _file(listing.repo, revision)
            file.parent.mkdir(parents=True, exist_ok=True)
            paths.write_atomically(file, json.dumps(content))


def recall(repo: str, revision: str) -> Listing | None:
    """The listing that this revision had when the hub was last asked; None when it never was."""
    try:
        content = json.loads(_file(repo, revision).read_text(encoding="utf-8"))
        files = tuple(
            HubFile(path, size, Digest(kind, value), lfs) for path, size, kind, value, lfs in content["files"]
        )
        return Listing(content["repo"], content["revision"], content["commit"], files)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(repo: str, revision: str) -> Path:
    name = f"{repo.replace('/', '--')}@{revision.replace('/', '--')}.json"
    return paths.state_dir() / "listings" / name
