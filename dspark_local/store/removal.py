"""What removing a model frees, and removing it. Content that another model uses, and other people's files, stay."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dspark_local import paths
from dspark_local.errors import DsparkError
from dspark_local.store.expected import belongs_to_model
from dspark_local.store.locations import hub_cache_dir
from dspark_local.store.models import InstalledModel
from dspark_local.store.snapshots import CachedRepo, Snapshot, cached_repo, disk_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import DeleteCacheStrategy


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that goes: a folder of ours, a repository of the cache, or some files of one."""

    what: str
    nbytes: int
    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    strategy: DeleteCacheStrategy | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Everything that goes, in order. kept are files that stay because another model needs them."""

    steps: tuple[Step, ...]
    kept: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes on the disk that become free."""
        return sum(step.nbytes for step in self.steps)


def plan_removal(models: Sequence[InstalledModel], others: Iterable[InstalledModel]) -> Removal:
    """What removing `models` means while `others` stay. Nothing is touched. Raises OSError and DsparkError."""
    needed = _needed(models, others)
    steps = [
        Step(f"{model.name} ({_kind(model)})", model.nbytes, folders=(model.path,))
        for model in models
        if model.kind != "hub cache"
    ]
    kept: set[str] = set()
    for name in sorted({repo for model in models if model.kind == "hub cache" for repo in _repos(model)}):
        repo = cached_repo(name)
        if repo is not None:
            kept |= {file.name for model in models for file in model.files if file.path in needed}
            steps += _cache_steps(repo, models, needed)
    return Removal(tuple(steps), tuple(sorted(kept)))


def execute(removal: Removal) -> None:
    """Remove it. DsparkError names what could not be removed."""
    models = paths.models_dir().resolve()
    cache = hub_cache_dir().resolve()
    for step in removal.steps:
        try:
            with _hub_log_muted():
                if step.strategy is not None:
                    step.strategy.execute()
            for file in step.files:
                file.unlink(missing_ok=True)
            for folder in step.folders:
                assert folder.resolve().parent in (models, cache), f"{folder} is none of ours"
                shutil.rmtree(folder)
        except OSError as error:
            raise _stuck(error.filename or step.what, error.strerror or str(error)) from error
        left = [path for path in _targets(step) if path.exists()]
        if left:  # the hub's client logs what it could not delete and goes on
            raise _stuck(left[0], "permission denied")


def _needed(models: Sequence[InstalledModel], others: Iterable[InstalledModel]) -> set[Path]:
    """Files of the cache that a model which stays reads, by itself or through the links of a folder of ours."""
    own_drafts = {repo for model in models for repo in _repos(model)}
    needed: set[Path] = set()
    linked: set[Path] = set()
    for other in others:
        if other.kind != "hub cache":
            linked |= {file.path.resolve() for file in other.files if file.path.is_symlink()}
        elif other.entry is not None or other.repo not in own_drafts:  # a separate draft is no reader of itself
            needed |= {file.path for file in other.files}
    return needed | {file.path for model in models for file in model.files if file.path.resolve() in linked}


def _repos(model: InstalledModel) -> set[str]:
    draft = model.entry.draft if model.entry is not None and isinstance(model.draft, Path) else None
    return {model.repo} | ({draft.repo} if draft is not None else set())


def _kind(model: InstalledModel) -> str:
    return "the draft fetched alone" if model.kind == "draft" else "the repacked copy"


def _cache_steps(repo: CachedRepo, models: Sequence[InstalledModel], needed: set[Path]) -> list[Step]:
    going = {file.path for model in models for file in model.files} - needed
    commits = {model.commit for model in models if model.repo == repo.repo and model.kind == "hub cache"}
    whole: list[Snapshot] = []
    partly: list[Snapshot] = []
    for snapshot in repo.snapshots:
        links = {file.link for file in snapshot.files}
        if snapshot.commit not in commits and not links & going:
            continue
        weights = {file.link for file in snapshot.files if belongs_to_model(file.path, ())}
        # Of a repository with several models only the files of this one go; the last one takes the README with it.
        stays = links & needed or (_is_a_choice(repo, models) and weights - going)
        (partly if stays else whole).append(snapshot)
    known, strategies = _strategies(repo, whole, partly, going)
    if not partly and len(whole) == len(repo.snapshots):
        return [
            Step(
                repo.repo,
                _folder_bytes(repo.folder),
                folders=() if strategies else (repo.folder,),
                strategy=next(iter(strategies), None),
            )
        ]
    if not known:
        raise DsparkError(
            f"The hub's own client finds the cache of {repo.repo} damaged, so a part of it cannot be removed safely.",
            hint=f"Remove all of it: dspark-local rm {repo.repo}.",
        )
    steps = [Step(f"files of {repo.repo}", int(s.expected_freed_size), strategy=s) for s in strategies]
    if repo.parts and any(model.state.kind == "incomplete" for model in models):
        size = sum(map(disk_bytes, repo.parts))
        steps.append(Step(f"unfinished downloads of {repo.repo}", size, files=repo.parts))
    return steps


def _is_a_choice(repo: CachedRepo, models: Sequence[InstalledModel]) -> bool:
    sources = [source for model in models if (e := model.entry) is not None for source in (e.target, e.draft)]
    return any(source is not None and source.repo == repo.repo and source.include for source in sources)


def _strategies(
    repo: CachedRepo, whole: list[Snapshot], partly: list[Snapshot], going: set[Path]
) -> tuple[bool, list[DeleteCacheStrategy]]:
    """How the hub's own client deletes these snapshots, and these files of others; and whether it knows the repository.

    It counts which blobs nobody else uses, and looks after the store that several caches may share.
    """
    from huggingface_hub import scan_cache_dir

    scan = scan_cache_dir(hub_cache_dir())
    known = next((cached for cached in scan.repos if cached.repo_path.name == repo.folder.name), None)
    if known is None:
        return False, []
    # It looks for commits in all repositories, and copies of a repository share them.
    scan = replace(scan, repos=frozenset({known}))
    wanted = {link.relative_to(repo.folder) for s in partly for link in (f.link for f in s.files) if link in going}
    files = [
        file
        for revision in known.revisions
        for file in revision.files
        if file.file_path.relative_to(known.repo_path) in wanted
    ]
    strategies = [scan.delete_files(*files)] if files else []
    if whole:
        strategies.append(scan.delete_revisions(*(snapshot.commit for snapshot in whole)))
    return True, strategies


def _folder_bytes(folder: Path) -> int:
    """Bytes of the files in it. Links take none: their content is counted where it lies, or belongs to others."""
    return sum(disk_bytes(file) for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _targets(step: Step) -> list[Path]:
    strategy = step.strategy
    if strategy is None:
        return [*step.files, *step.folders]
    return [*strategy.blobs, *strategy.refs, *strategy.repos, *strategy.snapshots, *strategy.files]


def _stuck(path: object, reason: str) -> DsparkError:
    return DsparkError(
        f"{path} could not be removed: {reason.lower()}.", hint="Check who owns it, then run the same command again."
    )


@contextmanager
def _hub_log_muted() -> Iterator[None]:
    """Its tracebacks about files it could not delete would stand above our own message."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
