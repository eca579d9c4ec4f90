"""The layout of the hub's own cache: blobs named by hash, snapshots that link to them, refs that name commits."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dspark_local.hub.listing import HubFile
from dspark_local.paths import models_dir


@dataclass(frozen=True, slots=True)
class RepoCache:
    """One model repository in the cache folder `root`. Nothing is created before it is written to."""

    root: Path
    repo: str

    @property
    def folder(self) -> Path:
        """models--owner--name."""
        return self.root / self._name

    @property
    def _name(self) -> str:
        return "--".join(["models", *self.repo.split("/")])

    def blob(self, file: HubFile) -> Path:
        """Where the content lies; the hub names it by the hash that it records."""
        return self.folder / "blobs" / file.digest.value

    def lock(self, file: HubFile) -> Path:
        """The lock that huggingface_hub takes for the same blob, so that it and we never write one file at once."""
        return self.root / ".locks" / self._name / f"{file.digest.value}.lock"

    def snapshot(self, commit: str) -> Path:
        """The folder that looks like the repository at this commit."""
        return self.folder / "snapshots" / commit

    def pointer(self, commit: str, file: HubFile) -> Path:
        """The file in the snapshot."""
        return self.snapshot(commit) / file.path

    def find(self, commit: str, file: HubFile) -> Path | None:
        """Content that claims to be this file, checked or not. Without links it lies in the snapshot."""
        for place in (self.blob(file), self.pointer(commit, file)):
            if place.is_file() and place.stat().st_size == file.size:
                return place
        return None

    def link(self, commit: str, file: HubFile) -> Path:
        """Make the snapshot show the blob; returns the pointer. Raises OSError."""
        blob, pointer = self.blob(file), self.pointer(commit, file)
        if not blob.exists() and pointer.is_file():
            return pointer
        pointer.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(blob, pointer.parent)
        if pointer.is_symlink() and os.readlink(pointer) == target:
            return pointer
        pointer.unlink(missing_ok=True)
        try:
            pointer.symlink_to(target)
        except OSError:
            if not pointer.exists():  # a Windows account that may not make links: the hub's client moves the file too
                os.replace(blob, pointer)
        return pointer

    def drop(self, pointer: Path) -> None:
        """Take a file out of its snapshot, with its content unless somebody else links to that. Raises OSError."""
        content = Path(os.path.realpath(pointer))
        pointer.unlink(missing_ok=True)
        links = [*(self.folder / "snapshots").rglob("*"), *models_dir().glob("*/*")]
        blobs = Path(os.path.realpath(self.folder / "blobs"))
        if content.parent == blobs and not any(_leads_to(link, content) for link in links):
            content.unlink(missing_ok=True)

    def forget(self, commit: str) -> None:
        """Take away the folders and refs of a snapshot that has become empty."""
        folder = self.snapshot(commit)
        if folder.is_dir():
            for path in sorted((each for each in folder.rglob("*") if each.is_dir()), reverse=True):
                path.rmdir()
            folder.rmdir()
        for ref in (self.folder / "refs").rglob("*"):
            if ref.is_file() and ref.read_text(encoding="utf-8", errors="replace").strip() == commit:
                ref.unlink()

    def set_ref(self, revision: str, commit: str) -> None:
        """Record what a branch or tag stands for. Raises OSError."""
        ref = self.folder / "refs" / revision
        with contextlib.suppress(OSError):
            if revision == commit or ref.read_text() == commit:
                return
        ref.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=ref.parent)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(commit)
        os.replace(temporary, ref)


def _leads_to(link: Path, content: Path) -> bool:
    return link.is_symlink() and Path(os.path.realpath(link)) == content
