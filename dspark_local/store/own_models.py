"""From a folder that repack or --draft-only made to the model that it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dspark_local import paths
from dspark_local.catalog.catalog import find_by_repo
from dspark_local.catalog.recognise import recognise_folder
from dspark_local.errors import CheckpointError
from dspark_local.store.digests import Digest
from dspark_local.store.manifest import FolderKind, Manifest, read_manifest
from dspark_local.store.models import InstalledModel, ModelFile, State
from dspark_local.store.snapshots import disk_bytes
from dspark_local.store.verified import VerifiedFiles

_FOLDER = re.compile(r"([^@]+?)--([^@]+)@([0-9a-f]+)(-draft)?")


@dataclass(frozen=True, slots=True)
class OwnFolder:
    """A folder of ours. is_finished tells whether its manifest, which is written last, is there."""

    path: Path
    manifest: Manifest
    is_finished: bool


def own_folders() -> tuple[OwnFolder, ...]:
    """Every such folder, by name; what has a damaged manifest or another name is passed over. Raises OSError."""
    found = (_open(path) for path in sorted(paths.models_dir().iterdir()) if path.is_dir())
    return tuple(folder for folder in found if folder is not None)


def _open(path: Path) -> OwnFolder | None:
    try:
        manifest = read_manifest(path)
    except CheckpointError:
        return None
    if manifest is not None:
        return OwnFolder(path, manifest, is_finished=True)
    # Cut short: the name is all there is to go by.
    named = _FOLDER.fullmatch(path.name)
    if named is None:
        return None
    kind: FolderKind = "draft" if named[4] else "repacked"
    return OwnFolder(path, Manifest(f"{named[1]}/{named[2]}", "main", named[3], kind, ()), is_finished=False)


def own_model(folder: OwnFolder, verified: VerifiedFiles) -> InstalledModel:
    """The model in it. Raises OSError."""
    manifest = folder.manifest
    entry = next(iter(find_by_repo(manifest.repo)), None)
    files = []
    for listed in manifest.files:
        path = folder.path / listed.path
        if path.is_file():
            files.append(ModelFile(listed.path, path, path.stat().st_size, Digest("sha256", listed.sha256)))
    # Links lead into the hub's cache, where the bytes are counted already.
    nbytes = sum(disk_bytes(file) for file in folder.path.rglob("*") if file.is_file() and not file.is_symlink())
    recognised = recognise_folder(folder.path)
    draft: Literal["inside"] | None = None
    if manifest.kind == "draft" or (recognised is not None and recognised.draft_kind is not None):
        draft = "inside"
    return InstalledModel(
        name=entry.name if entry is not None else manifest.repo,
        repo=manifest.repo,
        revisions=(manifest.revision,),
        commit=manifest.commit,
        path=folder.path,
        kind=manifest.kind,
        nbytes=nbytes,
        state=_state(manifest, tuple(files), verified) if folder.is_finished else State("incomplete", nbytes),
        draft=draft,
        files=tuple(files),
        role="draft" if manifest.kind == "draft" else "target",
        entry=entry,
    )


def _state(manifest: Manifest, files: tuple[ModelFile, ...], verified: VerifiedFiles) -> State:
    present = sum(file.size for file in files)
    total = sum(file.size for file in manifest.files)
    if {(file.name, file.size) for file in files} != {(file.path, file.size) for file in manifest.files}:
        return State("incomplete", present, total)
    checked = all(verified.holds(file.path, file.digest) for file in files)
    return State("verified" if checked else "unverified", present, total)
