"""From a repository in the hub's cache to the models that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from dspark_local.catalog.catalog import find_by_repo
from dspark_local.catalog.recognise import Recognised, recognise_folder
from dspark_local.catalog.schema import Entry, Source
from dspark_local.store.expected import belongs_to_model, expected_files
from dspark_local.store.models import InstalledModel, ModelFile, State
from dspark_local.store.snapshots import CachedRepo, Snapshot
from dspark_local.store.verified import VerifiedFiles

_COMMIT_DIGITS = 12


def cached_models(
    repo: CachedRepo, repos: Mapping[str, CachedRepo], verified: VerifiedFiles
) -> Iterator[InstalledModel]:
    """The models of one repository; `repos`, by case-folded name, is where their separate drafts are looked for.

    A repository of the catalog may hold several, a snapshot of any other is one.
    """
    snapshots = repo.snapshots
    if not snapshots and repo.parts:  # interrupted before its first file was complete
        snapshots = (Snapshot(repo.repo, "", (), repo.folder, (), ()),)
    for entry in find_by_repo(repo.repo) or (None,):
        for snapshot in snapshots:
            if entry is not None and snapshot.commit and not _has_any(snapshot, entry.target):
                continue
            yield _with_draft(_model(repo, snapshot, entry, verified), repos, verified)


def _has_any(snapshot: Snapshot, source: Source) -> bool:
    return not source.include or any(source.takes(file.path) for file in snapshot.files)


def _model(repo: CachedRepo, snapshot: Snapshot, entry: Entry | None, verified: VerifiedFiles) -> InstalledModel:
    sources = (entry.target,) if entry is not None else ()
    recognised = recognise_folder(snapshot.folder)
    name = entry.name if entry is not None else repo.repo
    plain = entry.target.revision if entry is not None else "main"
    if len(repo.snapshots) > 1 and plain not in snapshot.refs:
        name = f"{repo.repo}@{snapshot.commit[:_COMMIT_DIGITS]}"
    files = _files(snapshot, sources)
    state = _state(repo, snapshot, sources, files, verified)
    unfinished = repo.part_bytes if state.kind == "incomplete" else 0
    whole = entry is None or not entry.target.include
    return InstalledModel(
        name=name,
        repo=repo.repo,
        revisions=snapshot.refs,
        commit=snapshot.commit,
        path=snapshot.folder,
        kind="hub cache",
        nbytes=(snapshot.nbytes if whole else sum(file.size for file in files)) + unfinished,
        state=state,
        draft=_inside(entry, recognised),
        files=files,
        role=_role(entry, recognised),
        entry=entry,
    )


def _inside(entry: Entry | None, recognised: Recognised | None) -> Literal["inside"] | None:
    if recognised is not None:
        is_inside = recognised.role == "target" and recognised.draft_kind is not None and recognised.format != "gguf"
    else:
        is_inside = entry is not None and entry.draft_in_target
    return "inside" if is_inside else None


def _role(entry: Entry | None, recognised: Recognised | None) -> Literal["target", "draft", "other"]:
    if entry is not None:
        return "target"
    return recognised.role if recognised is not None else "other"


def _with_draft(model: InstalledModel, repos: Mapping[str, CachedRepo], verified: VerifiedFiles) -> InstalledModel:
    source = model.entry.draft if model.entry is not None else None
    repo = repos.get(source.repo.casefold()) if source is not None else None
    if source is None or repo is None:
        return model
    # The draft of the same repository belongs to the same commit; elsewhere its own revision counts.
    here = source.repo.casefold() == model.repo.casefold()
    snapshot = repo.snapshot(model.commit if here else source.revision)
    files = _files(snapshot, (source,)) if snapshot is not None else ()
    if snapshot is None or not files:
        return model
    state = _state(repo, snapshot, (source,), files, verified)
    place = snapshot.folder / files[0].name if source.include else snapshot.folder
    kind = model.state.kind
    if kind == "verified" and state.kind == "unverified":
        kind = "unverified"
    return replace(
        model,
        draft=None if state.kind == "incomplete" else place,
        files=model.files + files,
        nbytes=model.nbytes + (sum(file.size for file in files) if here else snapshot.nbytes),
        state=replace(model.state, kind=kind),
    )


def _files(snapshot: Snapshot, sources: tuple[Source, ...]) -> tuple[ModelFile, ...]:
    """The model's files that are there. Where blobs have no names of their own, the listing knows their hashes."""
    listed = {file.path: file.digest for file in expected_files(snapshot, sources)} if snapshot.commit else {}
    return tuple(
        ModelFile(file.path, file.link, file.size, file.digest or listed.get(file.path))
        for file in snapshot.files
        if belongs_to_model(file.path, sources)
    )


def _state(
    repo: CachedRepo,
    snapshot: Snapshot,
    sources: tuple[Source, ...],
    files: tuple[ModelFile, ...],
    verified: VerifiedFiles,
) -> State:
    expected = expected_files(snapshot, sources)
    sizes = {file.name: file.size for file in files}
    known = [file.size for file in expected if file.size is not None]
    total = sum(known) if expected and len(known) == len(expected) else None
    if total is None and len(sources) == 1:
        total = sources[0].nbytes
    present = sum(sizes.values())
    if any(file.path not in sizes or file.size not in (None, sizes[file.path]) for file in expected):
        return State("incomplete", present + repo.part_bytes, total)
    if all(file.digest is not None and verified.holds(file.path, file.digest) for file in files):
        return State("verified", present, present)
    return State("unverified", present, present)
