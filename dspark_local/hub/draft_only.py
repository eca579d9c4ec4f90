"""Only the draft of a checkpoint that holds target and draft in one: whole shards where they hold nothing else, and
byte ranges of the others.

The hub records the hash of whole files alone. A range is therefore demanded of exactly the listed content and over a
protected connection, the user is told, and where the connection is not protected the whole shard is taken.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dspark_local.errors import CheckpointError, UsageError
from dspark_local.hub.cache import RepoCache
from dspark_local.hub.draft_layout import LENGTH_BYTES, Excerpt, cut, excerpt
from dspark_local.hub.events import Notice, Planned
from dspark_local.hub.intake import Intake
from dspark_local.hub.listing import HubFile, Listing
from dspark_local.hub.ranged import Source, is_loopback
from dspark_local.hub.selection import check_path
from dspark_local.hub.shard_header import fetch_header
from dspark_local.hub.wanted import Wanted
from dspark_local.store.digests import Digest, hash_file
from dspark_local.store.manifest import Manifest, ManifestFile, model_folder, read_manifest, write_manifest

INDEX_NAME = "model.safetensors.index.json"
CONFIG_NAME = "config.json"
_DRAFT = "mtp."


def pull_draft(intake: Intake, listing: Listing) -> tuple[Path, int]:
    """Make a model folder of the draft in `listing`. Returns the folder and the bytes of its weights.

    Raises UsageError when the checkpoint holds no draft, and what Intake.run raises.
    """
    draft = _Draft(intake, listing)
    draft.plan()
    intake.run()
    return draft.folder, draft.write()


class _Draft:
    """shards: those that are taken whole, with the names of the tensors in each; excerpts: those of which a part is."""

    def __init__(self, intake: Intake, listing: Listing) -> None:
        self.folder = model_folder(listing.repo, listing.commit, "draft")
        self._intake = intake
        self._listing = listing
        self._cache = RepoCache(intake.root, listing.repo)
        self._whole: dict[str, tuple[str, ...]] = {}
        self._excerpts: dict[str, Excerpt] = {}
        self._hashes: dict[str, str] = {}

    def plan(self) -> None:
        for listed in self._listing.files:
            check_path(listed.path, self._listing.repo)
        small = [file for name in (CONFIG_NAME, INDEX_NAME) if (file := self._listing.find(name))]
        if not any(file.path == CONFIG_NAME for file in small):
            raise CheckpointError(f"{self._listing.repo} has no {CONFIG_NAME}.")
        self._intake.add(self._listing, small)
        self._intake.run()
        for path, names in self._shards().items():
            self._plan_shard(path, names)
        if not self._whole and not self._excerpts:
            raise UsageError(
                f"{self._listing.repo} holds no draft: none of its tensors is called {_DRAFT}*.",
                hint="If the repository is a draft as a whole, pull it without --draft-only.",
            )
        here = self._intake.add(self._listing, [self._file(path) for path in self._whole])
        here += sum(self._want_excerpt(path, part) for path, part in self._excerpts.items())
        count = len(self._whole) + len(self._excerpts)
        self._intake.settings.listener(Planned(self._listing.repo, self._listing.commit, count, self._nbytes, here))
        if self._excerpts:
            self._intake.settings.listener(
                Notice(
                    "The hub records no hash for a part of a file: the draft's share of "
                    f"{', '.join(self._excerpts)} is protected by the connection alone."
                )
            )

    @property
    def _nbytes(self) -> int:
        whole = sum(self._file(path).size for path in self._whole)
        return whole + sum(part.nbytes for part in self._excerpts.values())

    def _shards(self) -> dict[str, list[str]]:
        """The files that hold draft tensors, each with the names of all its tensors."""
        index = self._listing.find(INDEX_NAME)
        if index is None:
            single = [f.path for f in self._listing.files if f.path.endswith(".safetensors") and "/" not in f.path]
            named = {path: list(json.loads(self._header(self._file(path)))) for path in single}
        else:
            named = {}
            for name, path in _weight_map(self._cache.pointer(self._listing.commit, index)).items():
                named.setdefault(path, []).append(name)
        return {path: names for path, names in sorted(named.items()) if any(map(_is_draft, names))}

    def _plan_shard(self, path: str, names: Iterable[str]) -> None:
        file = self._file(path)
        own = tuple(name for name in names if _is_draft(name))
        is_here = self._cache.find(self._listing.commit, file) is not None
        is_mixed = any(name not in own and name != "__metadata__" for name in names)
        if not is_here and is_mixed and self._is_protected():
            part = excerpt(self._header(file), file.size, path, _is_draft)
            if 2 * part.nbytes <= file.size:
                self._excerpts[path] = part
                return
        self._whole[path] = own

    def _is_protected(self) -> bool:
        address = urlsplit(self._source(self._listing.files[0]).url)
        return address.scheme == "https" or is_loopback(address.hostname or "")

    def _want_excerpt(self, path: str, part: Excerpt) -> int:
        target = self.folder / _excerpt_name(path)
        known = read_manifest(self.folder)
        recorded = {file.path: file.sha256 for file in known.files} if known is not None else {}
        sha = recorded.get(target.name)
        if sha is not None and target.is_file():
            digest = Digest("sha256", sha)
            if self._intake.verified.holds(target, digest) or self._intake.verified.check(target, digest):
                self._hashes[path] = sha
                self._intake.present_bytes += part.nbytes
                return part.nbytes
        pieces = cut(part.pieces, self._intake.settings.segment_bytes)
        lock = self._cache.lock(self._file(path))
        wanted = Wanted(self._source(self._file(path), unverifiable=True), target, lock, pieces, None, part.prefix)
        self._intake.add_wanted(wanted, lambda sha: self._hashes.__setitem__(path, sha))
        return wanted.kept_bytes()

    def write(self) -> int:
        """Put the folder together; the manifest, which makes it a model, comes last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        commit = self._listing.commit
        config = self.folder / CONFIG_NAME
        shutil.copyfile(self._cache.pointer(commit, self._file(CONFIG_NAME)), config)
        weight_map: dict[str, str] = {}
        files: list[ManifestFile] = []
        for path, names in self._whole.items():
            file, link = self._file(path), self.folder / Path(path).name
            _link(self._cache.pointer(commit, file).resolve(), link)
            weight_map.update(dict.fromkeys(names, link.name))
            files.append(ManifestFile(link.name, file.size, file.digest.value))
        for path, part in self._excerpts.items():
            place = self.folder / _excerpt_name(path)
            weight_map.update(dict.fromkeys(part.names, place.name))
            files.append(ManifestFile(place.name, place.stat().st_size, self._hashes[path]))
        index = self.folder / INDEX_NAME
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1), encoding="utf-8")
        for made in (config, index):
            sha256 = hash_file(made, "sha256")
            self._intake.verified.record(made, Digest("sha256", sha256))
            files.append(ManifestFile(made.name, made.stat().st_size, sha256))
        listing = self._listing
        write_manifest(self.folder, Manifest(listing.repo, listing.revision, commit, "draft", tuple(files)))
        return self._nbytes

    def _file(self, path: str) -> HubFile:
        file = self._listing.find(path)
        if file is None or "/" in path:
            raise CheckpointError(f"The index of {self._listing.repo} names {path}, which the hub does not list.")
        return file

    def _source(self, file: HubFile, *, unverifiable: bool = False) -> Source:
        settings = self._intake.settings
        return Source.of(
            self._listing, file, token=settings.token, endpoint=settings.endpoint, unverifiable=unverifiable
        )

    def _header(self, file: HubFile) -> bytes:
        source = self._source(file, unverifiable=self._is_protected())
        header = fetch_header(source, self._intake.settings.patience)
        self._intake.moved_bytes += LENGTH_BYTES + len(header)
        return header


def _is_draft(name: str) -> bool:
    return name.startswith(_DRAFT)


def _excerpt_name(path: str) -> str:
    return f"draft-of-{path}"


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if all(isinstance(path, str) for path in weight_map.values()):
            return dict(weight_map)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise CheckpointError(f"{index} has no usable weight_map.", hint="Pull without --draft-only.")


def _link(content: Path, link: Path) -> None:
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(content)
    except OSError:  # a Windows account that may not make links
        try:
            os.link(content, link)
        except OSError:
            shutil.copyfile(content, link)
