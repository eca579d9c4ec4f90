"""What one line of the catalog says. The data is catalog.json; a wrong field there fails when it is read.

Sizes of files are bytes, memory is in GiB as card makers count, disks in GB as disk makers do.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Family = Literal["deepseek_v4", "qwen3", "gemma4"]
WeightFormat = Literal["safetensors", "gguf"]
DraftKind = Literal["dspark", "mtp"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Frozen):
    """Files of one repository.

    include     fnmatch patterns of paths; none means every file that may be taken
    nbytes      None when nobody published it
    is_exact    nbytes is the hub's own count of these files; otherwise it is derived and headers may be missing
    """

    repo: str
    revision: str = "main"
    include: tuple[str, ...] = ()
    nbytes: int | None = Field(default=None, gt=0)
    is_exact: bool = False

    def takes(self, path: str) -> bool:
        """Whether the file at this path of the repository, with forward slashes, belongs to the source."""
        return not self.include or any(fnmatchcase(path, pattern) for pattern in self.include)


class Sampling(_Frozen):
    """What the model's makers recommend."""

    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)


class Machine(_Frozen):
    """Hardware that an entry asks for."""

    vram_gib: float = Field(ge=0)
    ram_gib: float = Field(gt=0)
    disk_gb: float = Field(gt=0)


class Entry(_Frozen):
    """One model that can be asked for by name.

    draft            files of the draft where it is apart from the target, in another repository or another file
    draft_in_target  the target's own files hold the draft
    config           name of a file in catalog/configs/, without .json: what the planner knows before any download
    engine           "native" when the engine of this version runs it, "not yet" when it only fetches and stores it
    is_bundled       part of this package: nothing to fetch, and target names no repository
    note             why the hardware is what it is, and what else a user should know
    """

    name: str = Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")
    title: str
    family: Family
    format: WeightFormat
    target: Source
    draft: Source | None = None
    draft_kind: DraftKind | None = None
    draft_in_target: bool = False
    licence: str
    sampling: Sampling
    context_recommended: int = Field(gt=0)
    context_max: int = Field(gt=0)
    minimum: Machine
    comfortable: Machine
    config: str | None = None
    engine: Literal["native", "not yet"]
    is_bundled: bool = False
    note: str = Field(min_length=1)

    @property
    def nbytes(self) -> int | None:
        """Bytes of target and draft together; None when one of them is unknown."""
        parts = [self.target.nbytes] + ([self.draft.nbytes] if self.draft else [])
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @model_validator(mode="after")
    def _is_consistent(self) -> Entry:
        if (self.draft_kind is not None) != (self.draft is not None or self.draft_in_target):
            raise ValueError(f"{self.name}: a draft has a kind and a place, or there is none")
        if self.draft is not None and self.draft_in_target:
            raise ValueError(f"{self.name}: the draft is either inside the target or apart")
        if self.context_recommended > self.context_max:
            raise ValueError(f"{self.name}: the recommended context is longer than the longest")
        if self.is_bundled == bool(self.target.repo):
            raise ValueError(f"{self.name}: a bundled model has no repository, every other one has")
        return self
