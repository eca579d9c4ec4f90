"""What makes a repacked folder one of the store's models: everything in it read back once, and a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dspark_local.model_errors import models_errors
from dspark_local.store.digests import Digest, hash_file
from dspark_local.store.manifest import MANIFEST_NAME, Manifest, ManifestFile, read_manifest, write_manifest
from dspark_local.store.verified import VerifiedFiles


def adopt_repacked(
    folder: Path, *, repo: str, revision: str, commit: str, on_bytes: Callable[[int], None] = lambda _: None
) -> Manifest:
    """Hold a finished folder against its own checksums, record every file as verified, and write its manifest.

    Does nothing for a folder that has one. on_bytes hears of the bytes of banks and dense files as they are read.
    Raises CheckpointError for a folder that is damaged or not finished, and OSError.
    """
    known = read_manifest(folder)
    if known is not None:
        return known
    from dspark_models.expert_bank.verify import verify_bank

    with models_errors():
        hashes = verify_bank(folder, on_bytes)
    verified = VerifiedFiles()
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == MANIFEST_NAME:
            continue
        name = path.relative_to(folder).as_posix()
        sha256 = hashes.get(name) or hash_file(path, "sha256")
        verified.record(path, Digest("sha256", sha256))
        files.append(ManifestFile(name, path.stat().st_size, sha256))
    manifest = Manifest(repo, revision, commit, "repacked", tuple(files))
    write_manifest(folder, manifest)
    return manifest
