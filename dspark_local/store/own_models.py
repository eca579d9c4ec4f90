"""From a folder that repack or --draft-only made to the model that it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dspark_local import paths
from dspark_local.catalog.catalog import find_by_repo
from dspark_local.catalog.recognise import recognise_folder
from dspark_local.errors import CheckpointError
from dspark_local.store.digests import Digest
from dspark_local.store.manifest import Manifest, read_manifest
from dspark_local.store.models import InstalledModel, ModelFile, State
from dspark_local.store.verified import VerifiedFiles


@dataclass(frozen=True, slots=True)
class OwnFolder:
    """A folder of ours with a readable manifest."""

    path: Path
    manifest: Manifest


def own_folders() -> tuple[OwnFolder, ...]:
    """Every such folder, by name; one with a damaged manifest is passed over. Raises OSError."""
    found = []
    for path in sorted(paths.models_dir().iterdir()):
        try:
            manifest = read_manifest(path)
        except CheckpointError:
            continue
        if manifest is not None:
            found.append(OwnFolder(path, manifest))
    return tuple(found)


def own_model(folder: OwnFolder, verified: VerifiedFiles) -> InstalledModel:
    """The model in it. Raises OSError."""
    manifest = folder.manifest
    entry = next(iter(find_by_repo(manifest.repo)), None)
    files = []
    for listed in manifest.files:
        path = folder.path / listed.path
        if path.is_file():
            files.append(ModelFile(listed.path, path, path.stat().st_size, Digest("sha256", listed.sha256)))
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
        # Links lead into the hub's cache, where the bytes are counted already.
        nbytes=sum(file.lstat().st_size for file in folder.path.rglob("*") if file.is_file() and not file.is_symlink()),
        state=_state(manifest, tuple(files), verified),
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
