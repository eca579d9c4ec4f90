"""A model on this computer, as listings show it and commands choose it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dspark_local.catalog.schema import Entry
from dspark_local.sizes import format_bytes
from dspark_local.store.digests import Digest

ModelKind = Literal["hub cache", "repacked", "draft"]


@dataclass(frozen=True, slots=True)
class State:
    """How much of a model is there, and whether every byte was checked. expected_bytes is None when nobody knows."""

    kind: Literal["verified", "unverified", "incomplete"]
    present_bytes: int
    expected_bytes: int | None = None

    def __str__(self) -> str:
        if self.kind == "verified":
            return "complete and verified"
        if self.kind == "unverified":
            return "complete, not verified"
        if self.expected_bytes is None:
            return f"incomplete: {format_bytes(self.present_bytes)} so far"
        return f"incomplete: {format_bytes(self.present_bytes)} of {format_bytes(self.expected_bytes)}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. digest is what it must hash to, None where that was never recorded."""

    name: str
    path: Path
    size: int
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """One model, its separate draft included.

    name       how commands take it: a name of the catalog, or owner/repository, with @commit where several are there
    revisions  branches and tags that stood for the commit when it was fetched
    kind       where it lies: in the hub's cache, or in a folder that repack or --draft-only made
    nbytes     on the disk, the draft and unfinished downloads included
    draft      "inside", the place of a separate one, or None
    files      what an engine reads of target and draft, as far as it is there
    role       "draft" only drafts for another model; "other" is none that we know
    """

    name: str
    repo: str
    revisions: tuple[str, ...]
    commit: str
    path: Path
    kind: ModelKind
    nbytes: int
    state: State
    draft: Path | Literal["inside"] | None
    files: tuple[ModelFile, ...]
    role: Literal["target", "draft", "other"]
    entry: Entry | None

    @property
    def pull_command(self) -> str:
        """What fetches its missing or damaged files."""
        # The hub does not know a shortened commit.
        name = f"{self.repo}@{self.commit}" if "@" in self.name else self.name
        return f"dspark-local pull {name}" + (" --draft-only" if self.kind == "draft" else "")

    @property
    def repair(self) -> str:
        """The next step, as a sentence, when a file of it is missing or wrong."""
        if self.kind == "repacked" and self.state.kind == "incomplete" and self.state.expected_bytes is None:
            return (
                f"Run the interrupted command again, dspark-local repack {self.name} or {self.pull_command} --repack."
            )
        if self.kind == "repacked":
            return f"Remove the copy with dspark-local rm {self.name} --only repacked, and make it again."
        return f"Run {self.pull_command} to fetch what is missing or wrong; the rest stays."
