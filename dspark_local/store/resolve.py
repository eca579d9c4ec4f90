"""From what a user calls a model to the directory to load, checked to be what the hub recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dspark_local.catalog.reference import CatalogModel, HubModel, LocalModel, Reference, parse_reference
from dspark_local.errors import CheckpointError, IntegrityError, ModelNotFoundError, UsageError
from dspark_local.store.checking import Progress, check_files, unverified
from dspark_local.store.installed import all_models
from dspark_local.store.models import InstalledModel
from dspark_local.store.verified import VerifiedFiles


@dataclass(frozen=True, slots=True)
class Located:
    """What to load. draft_path is None when the draft is inside `path` or there is none."""

    path: Path
    draft_path: Path | None
    name: str


def find_model(text: str, progress: Progress | None = None, *, verify: bool = True) -> Located:
    """The directory of the model that --model names.

    Files that were never checked are hashed first, which `progress` reports; without `verify` the answer comes at once,
    and nothing may be loaded from it yet. Raises ModelNotFoundError when it is not here or not whole, and
    IntegrityError for a file that is not what the hub recorded. The user's own directories are taken as they are.
    """
    reference = parse_reference(text)
    own = _without_the_store(reference)
    if own is not None:
        return own
    model = select(reference, text)
    _demand_whole(model)
    if verify:
        demand_verified(model, progress)
    return Located(model.path, model.draft if isinstance(model.draft, Path) else None, model.name)


def find_draft(text: str, progress: Progress | None = None, *, verify: bool = True) -> Path:
    """The directory whose draft --draft names: a separate one, one fetched alone, or a model with one inside.

    progress and verify as for find_model. Raises ModelNotFoundError when there is none here, and IntegrityError.
    """
    reference = parse_reference(text)
    own = _without_the_store(reference)
    if own is not None:
        return own.path
    model = select(reference, text, drafts=True)
    if model.draft is None and model.role != "draft":
        raise ModelNotFoundError(
            f"{model.name} is here without a draft.", hint=f"{model.pull_command} fetches it, if there is one for it."
        )
    _demand_whole(model)
    if verify:
        demand_verified(model, progress)
    return model.draft if isinstance(model.draft, Path) else model.path


def select(reference: Reference, text: str, *, drafts: bool = False) -> InstalledModel:
    """The installed model that is meant, whole or not. Raises ModelNotFoundError when nothing of it is here.

    Of several places for one commit the repacked folder wins, as long as it is whole. `drafts` prefers a draft that
    was fetched alone; without it such a folder is no answer.
    """
    models = candidates(reference)
    usable = [model for model in models if drafts or model.kind != "draft"]
    if not usable:
        what = f"Only the draft of {text} is on this computer." if models else f"{text} is not on this computer."
        raise ModelNotFoundError(what, hint=f"Run dspark-local pull {text} to fetch it.")

    def rank(model: InstalledModel) -> tuple[bool, bool, bool]:
        return model.state.kind == "incomplete", drafts and model.kind != "draft", model.kind != "repacked"

    return min(usable, key=rank)


def select_to_repack(reference: Reference, text: str) -> InstalledModel:
    """The copy in the hub's cache, whole or with shards that a repacking has taken already.

    Raises ModelNotFoundError when there is none, UsageError when a repacked one is there.
    """
    models = candidates(reference)
    cached = [model for model in models if model.kind == "hub cache" and model.role == "target"]
    repacked = next((model for model in models if model.kind == "repacked"), None)
    if repacked is not None and repacked.state.kind != "incomplete":
        raise UsageError(f"{repacked.name} is repacked already, in {repacked.path}.", hint="Use it as it is.")
    if not cached:
        raise ModelNotFoundError(
            f"{text} is not on this computer.", hint=f"dspark-local pull --repack {text} fetches it."
        )
    if repacked is None:
        _demand_whole(cached[0])
    return cached[0]


def candidates(reference: Reference) -> list[InstalledModel]:
    """Every installed item that the reference may mean, all of one commit where its revision says which."""
    if isinstance(reference, LocalModel):
        return []
    revision = reference.entry.target.revision if isinstance(reference, CatalogModel) else reference.revision
    models = [model for model in all_models() if is_meant(model, reference)]
    exact = [model for model in models if _is_revision(model, revision)]
    if exact:
        # What the hub's cache calls main now counts; a folder of an older main does not.
        cached = tuple(model.commit for model in exact if model.kind == "hub cache")
        return [model for model in exact if not cached or any(commit.startswith(model.commit) for commit in cached)]
    # "main" is also what somebody means who fetched one other revision and does not say which.
    return models if revision == "main" and len({model.commit for model in models}) == 1 else []


def to_remove(reference: Reference) -> list[InstalledModel]:
    """Every item that goes with this name: all revisions, unless the reference says which one."""
    if isinstance(reference, HubModel) and reference.revision != "main":
        return candidates(reference)
    return [model for model in all_models() if is_meant(model, reference)]


def is_meant(model: InstalledModel, reference: Reference) -> bool:
    """Whether the item is of the entry or repository that is named, whatever its revision."""
    if isinstance(reference, CatalogModel):
        return model.entry == reference.entry
    return isinstance(reference, HubModel) and model.repo.casefold() == reference.repo.casefold()


def _is_revision(model: InstalledModel, revision: str) -> bool:
    return revision in model.revisions or (len(revision) >= 7 and model.commit.startswith(revision))


def _without_the_store(reference: Reference) -> Located | None:
    if isinstance(reference, CatalogModel) and reference.entry.is_bundled:
        from dspark_local.demo import weights_path

        return Located(weights_path(), None, reference.entry.name)
    if isinstance(reference, LocalModel):
        path = reference.path
        if not path.exists():
            raise ModelNotFoundError(f"There is no {path}.", hint="Check the path, or give a name of the catalog.")
        return Located(path, None, path.resolve().name)
    return None


def _demand_whole(model: InstalledModel) -> None:
    if model.state.kind == "incomplete":
        raise ModelNotFoundError(
            f"{model.name} is not whole on this computer, {model.state}.",
            hint=model.repair,
        )


def demand_verified(model: InstalledModel, progress: Progress | None) -> None:
    """Hash what was never checked. IntegrityError and CheckpointError for what may not be loaded."""
    verified = VerifiedFiles()
    try:
        report = check_files(unverified(model.files, verified), verified, progress)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename} cannot be read: {error.strerror}.", hint="Check its permissions and the disk."
        ) from error
    if report.wrong:
        raise IntegrityError(
            f"{report.wrong[0].path} is not what was recorded, so {model.name} is not used.",
            hint=model.repair,
        )
    if report.unknown:
        raise CheckpointError(
            f"Nobody recorded what {report.unknown[0]} of {model.name} must hash to, so it cannot be checked.",
            hint=model.repair,
        )
