"""From what the user typed to verified files on this disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dspark_local.catalog.reference import CatalogModel, LocalModel, parse_reference
from dspark_local.catalog.schema import Entry
from dspark_local.errors import HubAccessError, HubError, UsageError
from dspark_local.hub.cache import RepoCache
from dspark_local.hub.draft_only import pull_draft
from dspark_local.hub.errors import cannot_write, is_disk_full
from dspark_local.hub.events import Notice, Planned
from dspark_local.hub.intake import Intake, Settings
from dspark_local.hub.listing import Listing, list_files
from dspark_local.hub.remembered import recall, remember
from dspark_local.hub.selection import matching, select
from dspark_local.hub.space import out_of_room
from dspark_local.store.locations import hub_cache_dir
from dspark_local.store.manifest import model_folder

Role = Literal["target", "draft"]


@dataclass(frozen=True, slots=True)
class Order:
    """Files of one repository. takes None: every file that may be taken.

    only_draft: the draft's tensors alone. repack: into a folder with expert banks instead of the hub's cache.
    """

    role: Role
    repo: str
    revision: str
    takes: Callable[[str], bool] | None = None
    only_draft: bool = False
    repack: bool = False


@dataclass(frozen=True, slots=True)
class Pulled:
    """One model on this disk. folder is the snapshot, or a folder of our own for a draft taken out of its target."""

    role: Role
    repo: str
    revision: str
    commit: str
    folder: Path
    nbytes: int


@dataclass(frozen=True, slots=True)
class PullResult:
    """What is here now. moved_bytes came over the network, present_bytes were on the disk before."""

    models: tuple[Pulled, ...]
    moved_bytes: int
    present_bytes: int


def orders(
    reference: str,
    *,
    revision: str | None = None,
    draft_only: bool = False,
    with_draft: bool = True,
    include: Sequence[str] = (),
    repack: bool = False,
) -> tuple[Order, ...]:
    """What has to be fetched for a name of the catalog or owner/repository[@revision].

    Raises ModelNotFoundError for an unknown name, UsageError for a local path or options that contradict the model.
    """
    if draft_only and not with_draft:
        raise UsageError("--draft-only and --no-draft leave nothing to pull.", hint="Give one of the two.")
    if draft_only and repack:
        raise UsageError("A draft alone is not repacked.", hint="Leave --draft-only or --repack out.")
    model = parse_reference(reference)
    if isinstance(model, LocalModel):
        raise UsageError(
            f"{reference} is a path on this computer, there is nothing to pull.",
            hint=f"dspark-local run --model {reference} uses it where it is.",
        )
    chosen = matching(include) if include else None
    if isinstance(model, CatalogModel):
        wanted = _orders_of_entry(model.entry, revision, draft_only, with_draft, chosen)
        return tuple(replace(order, repack=repack and order.role == "target") for order in wanted)
    role: Role = "draft" if draft_only else "target"
    return (Order(role, model.repo, revision or model.revision, chosen, draft_only, repack),)


def _orders_of_entry(
    entry: Entry, revision: str | None, draft_only: bool, with_draft: bool, chosen: Callable[[str], bool] | None
) -> tuple[Order, ...]:
    if entry.is_bundled:
        raise UsageError(f"{entry.name} is part of this program, there is nothing to pull.")
    if draft_only and entry.draft_kind is None:
        raise UsageError(f"{entry.name} has no draft.", hint="Leave --draft-only out.")
    target = Order(
        "target",
        entry.target.repo,
        revision or entry.target.revision,
        chosen or (entry.target.takes if entry.target.include else None),
    )
    if draft_only and entry.draft is None:
        if entry.format != "safetensors":
            raise UsageError(f"The draft of {entry.name} cannot be taken out of its {entry.format} file.")
        return (replace(target, role="draft", only_draft=True),)
    if entry.draft is None or not with_draft:
        return (target,)
    takes = entry.draft.takes if entry.draft.include else None
    draft = Order("draft", entry.draft.repo, entry.draft.revision, takes)
    return (draft,) if draft_only else (target, draft)


def pull(wanted: Sequence[Order], settings: Settings) -> PullResult:
    """Get everything that is ordered into the hub's cache, verified.

    Raises HubError and its kinds, IntegrityError, DiskFullError, CheckpointError, ModelNotFoundError, UsageError. After
    any of them, and after KeyboardInterrupt, the same call continues where this one ended.
    """
    try:
        return _pull(wanted, settings)
    except OSError as error:  # network failures were translated: this is the disk
        raise (
            out_of_room(hub_cache_dir(), 1, kept=0)
            if is_disk_full(error)
            else cannot_write(Path(error.filename or hub_cache_dir()), error)
        ) from error


def _pull(wanted: Sequence[Order], settings: Settings) -> PullResult:
    intake = Intake(hub_cache_dir(), settings)
    listed = [(order, _list(order, settings)) for order in wanted]
    models: list[Pulled] = []
    for order, listing in listed:
        if order.only_draft:
            folder, nbytes = pull_draft(intake, listing)
            models.append(Pulled("draft", order.repo, order.revision, listing.commit, folder, nbytes))
            continue
        selection = select(listing, order.takes)
        for sentence in selection.refusals():
            settings.listener(Notice(sentence))
        if order.repack or _is_repacked(listing):
            from dspark_local.hub.repacked import pull_repacked  # torch: seconds

            folder, nbytes = pull_repacked(intake, listing, selection.taken)
            models.append(Pulled(order.role, order.repo, order.revision, listing.commit, folder, nbytes))
            continue
        here = intake.add(listing, selection.taken)
        settings.listener(Planned(order.repo, listing.commit, len(selection.taken), selection.nbytes, here))
        folder = RepoCache(intake.root, order.repo).snapshot(listing.commit)
        models.append(Pulled(order.role, order.repo, order.revision, listing.commit, folder, selection.nbytes))
    intake.run()
    for order, listing in listed:
        if not _is_repacked(listing):
            RepoCache(intake.root, order.repo).set_ref(order.revision, listing.commit)
    return PullResult(tuple(models), intake.moved_bytes, intake.present_bytes)


def _is_repacked(listing: Listing) -> bool:
    """Whether this commit lies here in a folder with expert banks, or is on its way there."""
    return model_folder(listing.repo, listing.commit, "repacked").is_dir()


def _list(order: Order, settings: Settings) -> Listing:
    """The hub's listing; the one it gave last when it must not or cannot be asked."""
    from huggingface_hub.constants import is_offline_mode

    known = recall(order.repo, order.revision)
    if is_offline_mode() and known is not None:
        return known
    try:
        listing = list_files(
            order.repo,
            order.revision,
            token=settings.token,
            endpoint=settings.endpoint,
            patience=settings.patience,
            listener=settings.listener,
        )
    except HubAccessError:
        raise
    except HubError as error:
        if known is None or is_offline_mode():
            raise
        settings.listener(Notice(f"{error.message} What it listed last time is used."))
        return known
    remember(listing)
    return listing
